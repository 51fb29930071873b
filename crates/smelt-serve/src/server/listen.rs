//! Connections: how many there may be, how long a head may take to come, and how they end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use smelt::Stop;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at a time; others wait to be taken.
const MOST_CONNECTIONS: usize = 2048;
/// How often it is asked whether it shall end.
const ASKED: Duration = Duration::from_millis(50);
/// How long connections may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves until `stop` is set, and lets connections end; `ending` is called before. A head that takes longer than
/// `most_time` is given up.
pub(super) async fn listen(
    listener: TcpListener,
    router: Router,
    most_time: Duration,
    stop: &Stop,
    ending: impl FnOnce(),
) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let connections = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(most_time);
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let place = room.clone().acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        tokio::select! {
            () = asked(stop) => break,
            (place, accepted) = accepted => match accepted {
                Ok((stream, address)) => serve((stream, address), router.clone(), (&http, &connections), place),
                // Without descriptors left there is nothing to do but to wait for some.
                Err(_) => tokio::time::sleep(ASKED).await,
            },
        }
    }
    drop(listener);
    ending();
    tokio::select! {
        () = connections.shutdown() => {}
        () = tokio::time::sleep(PATIENCE) => {}
    }
}

async fn asked(stop: &Stop) {
    while !stop.is_set() {
        tokio::time::sleep(ASKED).await;
    }
}

fn serve(
    (stream, address): (TcpStream, SocketAddr),
    router: Router,
    (http, connections): (&http1::Builder, &GracefulShutdown),
    place: Option<OwnedSemaphorePermit>,
) {
    // Steps are told as they happen; where that fails they come a little later.
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(address));
        let answer = router.call(request);
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
    tokio::spawn(async move {
        // Who leaves, or sends no HTTP, hears nothing more.
        let _ = connection.await;
        drop(place);
    });
}
