//! Links of an authorisation, by its approach and status.

use shared_types::xs2a::authorisation::{
    AuthenticationObject, ChallengeData, ScaApproach, ScaStatus,
};
use shared_types::xs2a::link::Links;
use shared_types::xs2a::text::Text;

use super::Approving;
use crate::consent::authorisation::Step;
use crate::domain::{Authorisation, MethodId};
use crate::sca::Challenge;

/// The path of a consent.
pub(super) fn consent_path(id: &str) -> String {
    format!("/v1/consents/{id}")
}

/// The path of an authorisation.
pub(super) fn path(authorisation: &Authorisation) -> String {
    let consent = consent_path(&authorisation.consent_id);
    format!("{consent}/authorisations/{}", authorisation.id)
}

/// The links of an authorisation, by its status.
///
/// `starting`: in the response to its start, the standard names one link differently.
pub(super) fn links(
    authorisation: &Authorisation,
    can_select: bool,
    approving: &Approving,
    starting: bool,
) -> Links {
    let path = path(authorisation);
    let links = Links::new().with("scaStatus", &*path);
    let password = if starting {
        "startAuthorisationWithPsuAuthentication"
    } else {
        "updatePsuAuthentication"
    };
    match (authorisation.approach, authorisation.status) {
        (_, status) if status.is_final() => {
            let consent = consent_path(&authorisation.consent_id);
            links.with("status", format!("{consent}/status"))
        }
        (_, ScaStatus::Unconfirmed) => links.with("confirmation", path),
        (ScaApproach::Redirect, _) => on_our_pages(links, authorisation, approving, &path),
        (ScaApproach::Decoupled, ScaStatus::Received) => {
            links.with("updatePsuIdentification", path)
        }
        (ScaApproach::Embedded, ScaStatus::Received) => links
            .with("updatePsuIdentification", &*path)
            .with(password, path),
        (ScaApproach::Embedded, ScaStatus::PsuIdentified) => links.with(password, path),
        (ScaApproach::Embedded, ScaStatus::PsuAuthenticated) if can_select => {
            links.with("selectAuthenticationMethod", path)
        }
        (ScaApproach::Embedded, ScaStatus::ScaMethodSelected) => {
            links.with("authoriseTransaction", path)
        }
        (ScaApproach::Decoupled | ScaApproach::Embedded, _) => links,
    }
}

fn on_our_pages(
    links: Links,
    authorisation: &Authorisation,
    approving: &Approving,
    path: &str,
) -> Links {
    let Some(origin) = &approving.origin else {
        return links;
    };
    let links = links.with(
        "scaRedirect",
        format!("{origin}/authorise/{}", authorisation.id),
    );
    if approving.rules.confirmation_code {
        links.with("confirmation", path)
    } else {
        links
    }
}

/// The link that starts an authorisation of that approach.
pub(super) fn start_link(
    links: Links,
    consent: &str,
    approach: ScaApproach,
    names_customer: bool,
) -> Links {
    let name = match approach {
        ScaApproach::Redirect => "startAuthorisation",
        ScaApproach::Decoupled if names_customer => "startAuthorisation",
        ScaApproach::Decoupled => "startAuthorisationWithPsuIdentification",
        ScaApproach::Embedded => "startAuthorisationWithPsuAuthentication",
    };
    links.with(name, format!("{}/authorisations", consent_path(consent)))
}

/// Message for the customer.
pub(super) fn psu_message(authorisation: &Authorisation) -> Option<Text<500>> {
    let text = match (
        authorisation.approach,
        authorisation.status,
        &authorisation.method,
    ) {
        (ScaApproach::Decoupled, ScaStatus::Started, _) => {
            "Please approve the request in your bank's app."
        }
        (ScaApproach::Embedded, ScaStatus::ScaMethodSelected, Some(MethodId::External(_))) => {
            "Please enter the code."
        }
        (ScaApproach::Embedded, ScaStatus::ScaMethodSelected, _) => {
            "Please enter the code that your authenticator shows."
        }
        _ => return None,
    };
    Some(Text::cut(text))
}

/// The methods for the customer's choice.
pub(super) fn methods(step: &Step) -> Option<Vec<AuthenticationObject>> {
    let methods = step.methods.iter();
    let methods: Vec<_> = methods.map(|method| method.description.clone()).collect();
    (!methods.is_empty()).then_some(methods)
}

/// The chosen method, while its answer is awaited.
pub(super) fn chosen_method(step: &Step) -> Option<AuthenticationObject> {
    step.chosen
        .as_ref()
        .map(|method| method.description.clone())
}

/// Data of the challenge.
pub(super) fn challenge_data(step: &Step) -> Option<ChallengeData> {
    match &step.challenge {
        Some(Challenge::Code(data)) => Some(data.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::config::ScaConfig;

    fn authorisation(approach: ScaApproach, status: ScaStatus) -> Authorisation {
        Authorisation {
            id: "a".to_owned(),
            consent_id: "c".to_owned(),
            psu: None,
            by_log_in: false,
            approach,
            status,
            method: None,
            redirect_uri: None,
            nok_redirect_uri: None,
            created: DateTime::UNIX_EPOCH,
            last_action: DateTime::UNIX_EPOCH,
            shown: None,
            refused: false,
        }
    }

    /// The names of the links beside `scaStatus`.
    fn names(approach: ScaApproach, status: ScaStatus, can_select: bool) -> String {
        let rules = Approving {
            offered: ScaApproach::ALL.to_vec(),
            origin: Some("https://banking.example".to_owned()),
            has_app_page: true,
            rules: ScaConfig {
                confirmation_code: true,
                ..ScaConfig::default()
            },
        };
        let authorisation = authorisation(approach, status);
        let links = links(&authorisation, can_select, &rules, false);
        assert_eq!(
            links.get("scaStatus"),
            Some("/v1/consents/c/authorisations/a")
        );
        assert_eq!(
            links
                .get("scaRedirect")
                .unwrap_or("https://banking.example/authorise/a"),
            "https://banking.example/authorise/a"
        );
        let others = links.iter().map(|(name, _)| name);
        let others: Vec<_> = others.filter(|name| *name != "scaStatus").collect();
        others.join(" ")
    }

    #[test]
    fn every_status_of_every_approach_leads_on() {
        use ScaApproach::{Decoupled, Embedded, Redirect};

        let redirect = "confirmation scaRedirect";
        for (status, by_redirect, decoupled, embedded) in [
            (
                ScaStatus::Received,
                redirect,
                "updatePsuIdentification",
                "updatePsuAuthentication updatePsuIdentification",
            ),
            (
                ScaStatus::PsuIdentified,
                redirect,
                "",
                "updatePsuAuthentication",
            ),
            (
                ScaStatus::PsuAuthenticated,
                redirect,
                "",
                "selectAuthenticationMethod",
            ),
            (
                ScaStatus::ScaMethodSelected,
                redirect,
                "",
                "authoriseTransaction",
            ),
            (ScaStatus::Started, redirect, "", ""),
            (
                ScaStatus::Unconfirmed,
                "confirmation",
                "confirmation",
                "confirmation",
            ),
            (ScaStatus::Finalised, "status", "status", "status"),
            (ScaStatus::Failed, "status", "status", "status"),
            (ScaStatus::Exempted, "status", "status", "status"),
        ] {
            assert_eq!(names(Redirect, status, true), by_redirect, "{status}");
            assert_eq!(names(Decoupled, status, true), decoupled, "{status}");
            assert_eq!(names(Embedded, status, true), embedded, "{status}");
        }
        assert_eq!(names(Embedded, ScaStatus::PsuAuthenticated, false), "");
    }
}
