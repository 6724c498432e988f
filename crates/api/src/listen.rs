//! Connections: how many, and for how long, so that nobody who has no key keeps others out.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::error::ApiError;

/// What clients may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, up to a million; more wait until one ends.
    pub n_connections_max: u32,
    /// How long the handshake of TLS may take.
    pub handshake_time_max: Duration,
    /// How long a request's head may take, from the end of the one before: so this is how long a connection may be idle.
    pub head_time_max: Duration,
    /// How long a body may take.
    pub body_time_max: Duration,
    /// How old a connection grows before it is closed behind an answer.
    pub age_max: Duration,
    /// How long a connection that is to be closed may finish what it does.
    pub goodbye_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            n_connections_max: 512,
            handshake_time_max: Duration::from_secs(10),
            head_time_max: Duration::from_secs(60),
            body_time_max: Duration::from_secs(30),
            age_max: Duration::from_secs(600),
            goodbye_time_max: Duration::from_secs(60),
        }
    }
}

/// The most bytes of a request's line and headers.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long nothing is accepted after the operating system had no more sockets.
const REST: Duration = Duration::from_millis(500);

/// What begins a connection of TLS: the type of a handshake's record.
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves until `over`, and then until every connection has finished what it does. With `tls` it speaks HTTPS and nothing
/// else.
///
/// # Errors
/// The listener has no address any more.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    over: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    listener.local_addr()?;
    let places = Arc::new(Semaphore::new(
        usize::try_from(limits.n_connections_max).unwrap_or(usize::MAX),
    ));
    let (closing, closes) = watch::channel(false);
    let mut over = pin!(over);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = over.as_mut() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (tls, router, closes) = (tls.clone(), router.clone(), closes.clone());
                tokio::spawn(async move {
                    hold(stream, tls, router, limits, closes).await;
                    drop(place);
                });
            }
            // The client is gone before it was there.
            Err(err) if is_of_client(&err) => {}
            Err(err) => {
                tracing::error!(error = &err as &dyn std::error::Error, "no connection can be accepted");
                tokio::time::sleep(REST).await;
            }
        }
    }
    drop(listener);
    closing.send_replace(true);
    // All places are free when the last connection has ended.
    let _ = places.acquire_many(limits.n_connections_max).await;
    Ok(())
}

async fn hold(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    mut closes: watch::Receiver<bool>,
) {
    // Without it a small answer waits for the client's acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return converse(stream, router, limits, closes).await;
    };
    // Boxed: a handshake's state is large, and it is gone when the requests begin.
    let opening = Box::pin(tokio::time::timeout(limits.handshake_time_max, open(stream, &tls)));
    let opened = tokio::select! {
        opened = opening => opened,
        _ = closes.wait_for(|is_closing| *is_closing) => return,
    };
    match opened {
        Ok(Ok(Opened::Tls(stream))) => converse(stream, router, limits, closes).await,
        Ok(Ok(Opened::Plain(stream))) => converse(stream, Router::new().fallback(refuse_plain), limits, closes).await,
        // A client that trusts another authority goes away like this.
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => {}
    }
}

/// What came of the beginning of a connection to the place for HTTPS.
enum Opened {
    Tls(Box<TlsStream<TcpStream>>),
    /// It is no TLS: plain HTTP, most likely.
    Plain(TcpStream),
}

async fn open(stream: TcpStream, tls: &TlsAcceptor) -> io::Result<Opened> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 || first == [TLS_HANDSHAKE] {
        tls.accept(stream).await.map(|stream| Opened::Tls(Box::new(stream)))
    } else {
        Ok(Opened::Plain(stream))
    }
}

/// Whoever has forgotten an `s` is told so.
async fn refuse_plain() -> Response {
    let refused = ApiError::invalid("request came over plain HTTP, expected HTTPS: the address begins with https://");
    let mut response = refused.into_response();
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    limits: Limits,
    mut closes: watch::Receiver<bool>,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time_max)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    tokio::select! {
        // A client that breaks off is its own affair.
        _ = connection.as_mut() => return,
        () = tokio::time::sleep(limits.age_max) => {}
        _ = closes.wait_for(|is_closing| *is_closing) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(limits.goodbye_time_max, connection).await;
}

fn is_of_client(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
