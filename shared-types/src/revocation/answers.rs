//! Set of OCSP responses.

use std::collections::HashMap;
use std::sync::Arc;

use super::ocsp::{Answer, AnswerError, CertificateId};
use super::path_certificate::PathCertificate;

/// The answers at hand, one for each certificate. Cheap to clone: it shares them.
#[derive(Debug, Clone, Default)]
pub struct Answers(HashMap<CertificateId, Arc<Answer>>);

impl Answers {
    /// Adds an answer, or puts it in the place of the one before.
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

    /// The answer about that certificate, fresh or not.
    ///
    /// Cost: one look-up by hash.
    #[must_use]
    pub fn about(&self, certificate: &PathCertificate) -> Option<&Arc<Answer>> {
        self.0.get(&CertificateId::of(certificate))
    }

    /// Keeps those that are still of use.
    pub fn retain(&mut self, mut is_of_use: impl FnMut(&Answer) -> bool) {
        self.0.retain(|_, answer| is_of_use(answer));
    }

    /// How many there are.
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
