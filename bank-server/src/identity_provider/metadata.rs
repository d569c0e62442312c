//! Metadata of the identity provider (OpenID Connect Discovery 1.0, RFC 8414).

use serde::Deserialize;
use url::Url;

use super::DETAILS_TYPE;
use crate::config::{ApprovalBinding, IdentityProviderConfig, is_endpoint};

/// The metadata, as far as it is used.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metadata {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) jwks_uri: Url,
    pub(super) pushed_authorization_request_endpoint: Option<Url>,
    pub(super) end_session_endpoint: Option<Url>,
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
    pub(super) token_endpoint_auth_methods_supported: Option<Vec<String>>,
    authorization_details_types_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
}

/// Error in the metadata.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MetadataError {
    #[error("the issuer is no address")]
    Address,
    #[error("the provider calls itself {0}, and identity_provider.issuer is another")]
    Issuer(String),
    #[error("{0} is no https address")]
    Endpoint(&'static str),
    #[error("the provider does not support PKCE with S256")]
    NoPkce,
    #[error("the provider does not support authorization_details of the type {DETAILS_TYPE}")]
    NoDetails,
    #[error(
        "the provider takes no pushed authorization requests, and with approval = \
         \"authorization-details\" account numbers would go through the browser's address"
    )]
    NoPushedRequests,
}

/// Address of the metadata of an issuer.
pub(super) fn address(issuer: &str) -> Result<Url, MetadataError> {
    let issuer = issuer.trim_end_matches('/');
    let address = format!("{issuer}/.well-known/openid-configuration");
    address.parse().map_err(|_| MetadataError::Address)
}

impl Metadata {
    /// Fails unless it is the metadata of the configured issuer, with endpoints that can be used,
    /// and with what the configured kind of approval takes.
    pub(super) fn check(&self, config: &IdentityProviderConfig) -> Result<(), MetadataError> {
        if self.issuer != config.issuer {
            let named = self.issuer.chars().filter(|letter| !letter.is_control());
            return Err(MetadataError::Issuer(named.take(200).collect()));
        }
        let endpoints = [
            ("authorization_endpoint", Some(&self.authorization_endpoint)),
            ("token_endpoint", Some(&self.token_endpoint)),
            ("jwks_uri", Some(&self.jwks_uri)),
            (
                "pushed_authorization_request_endpoint",
                self.pushed_authorization_request_endpoint.as_ref(),
            ),
            ("end_session_endpoint", self.end_session_endpoint.as_ref()),
        ];
        for (name, endpoint) in endpoints {
            if endpoint.is_some_and(|url| !is_endpoint(url, config.is_plain_http())) {
                return Err(MetadataError::Endpoint(name));
            }
        }
        // The list is optional, and a provider without it may still support PKCE.
        let methods = self.code_challenge_methods_supported.as_ref();
        if methods.is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
            return Err(MetadataError::NoPkce);
        }
        if config.approval == ApprovalBinding::AuthorizationDetails {
            // Optional as well.
            let types = self.authorization_details_types_supported.as_ref();
            if types.is_some_and(|types| !types.iter().any(|known| known == DETAILS_TYPE)) {
                return Err(MetadataError::NoDetails);
            }
            if self.pushed_authorization_request_endpoint.is_none() {
                return Err(MetadataError::NoPushedRequests);
            }
        }
        Ok(())
    }
}
