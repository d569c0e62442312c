//! Connector layer that makes connections on the threads for handshakes, where a token holds our
//! key: its signature would block the runtime of the caller.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use shared_types::pki::pkcs11::HandshakeThreads;
use tower_layer::Layer;
use tower_service::Service;

/// Layer around the connector of an HTTP client (`reqwest::ClientBuilder::connector_layer`) whose
/// key is on a token.
#[derive(Clone, Debug)]
pub struct HandshakeLayer(pub HandshakeThreads);

/// The connector, with its threads.
#[derive(Clone, Debug)]
pub struct HandshakeConnector<S> {
    threads: HandshakeThreads,
    connector: S,
}

impl<S> Layer<S> for HandshakeLayer {
    type Service = HandshakeConnector<S>;

    fn layer(&self, connector: S) -> Self::Service {
        HandshakeConnector {
            threads: self.0.clone(),
            connector,
        }
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

impl<S, R> Service<R> for HandshakeConnector<S>
where
    S: Service<R, Error = BoxError>,
    S::Response: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let threads = self.threads.clone();
        let connecting = self.connector.call(request);
        Box::pin(async move { threads.run(connecting).await? })
    }
}
