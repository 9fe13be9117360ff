//! The accept loop: bounds on connections and heads, and a stop that lets requests in flight finish.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tower::{Layer, ServiceExt};

use crate::config::ServerConfig;

/// Serves `app` until `stop`, then waits for requests in flight, at most `server.shutdown_seconds`.
pub async fn serve(listener: TcpListener, app: Router, config: &ServerConfig, stop: CancellationToken) {
    // HTTP/1.1 only: telling the versions apart waits for the first bytes without a limit, and who wants HTTP/2 talks to the
    // proxy in front.
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(config.header_timeout_seconds.max(1)))
        // Twice the limit, so that a head somewhat too large is read whole and refused in our words (hyper's own 431 is empty).
        .max_buf_size(config.header_limit_bytes.saturating_mul(2));
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(config.connection_limit));

    loop {
        let accepting = async {
            // A new connection waits in the kernel's queue until one of ours ends.
            let permit = connections.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepting => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer): (_, SocketAddr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the client is gone already: neither is a reason to stop, nor to spin.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Answers are small and somebody waits for each.
        let _ = stream.set_nodelay(true);
        let service = axum::Extension(ConnectInfo(peer))
            .layer(app.clone())
            .map_request(|request: axum::http::Request<_>| request.map(axum::body::Body::new));
        let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "a connection ended early");
            }
        });
    }

    drop(listener);
    let wait = Duration::from_secs(config.shutdown_seconds);
    if tokio::time::timeout(wait, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            seconds = wait.as_secs(),
            "requests in flight did not finish in time; their work goes on until the end or is resolved at the next start"
        );
    }
}
