//! Set of OCSP responses.

use std::collections::HashMap;
use std::sync::Arc;

use super::ocsp::{Answer, AnswerError, CertificateId};
use super::path_certificate::PathCertificate;

/// OCSP responses, at most one for each certificate. Cheap to clone: clones share them.
#[derive(Debug, Clone, Default)]
pub struct Answers(HashMap<CertificateId, Arc<Answer>>);

impl Answers {
    /// Adds a response, replacing an earlier one about the same certificate.
    pub fn add(&mut self, answer: Arc<Answer>) -> Result<(), AnswerError> {
        if let Some(known) = self.0.get(answer.about())
            && answer.this_update() < known.this_update()
        {
            return Err(AnswerError::Older {
                this_update: answer.this_update(),
                at_hand: known.this_update(),
            });
        }
        self.0.insert(answer.about().clone(), answer);
        Ok(())
    }

    /// Returns the response about this certificate, current or stale.
    ///
    /// Cost: one look-up by hash.
    #[must_use]
    pub fn about(&self, certificate: &PathCertificate) -> Option<&Arc<Answer>> {
        self.0.get(&CertificateId::of(certificate))
    }

    /// Removes the responses that are of no more use.
    pub fn retain(&mut self, mut is_of_use: impl FnMut(&Answer) -> bool) {
        self.0.retain(|_, answer| is_of_use(answer));
    }

    /// The number of responses.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
