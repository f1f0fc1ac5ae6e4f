//! The listening socket.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream};

use crate::failure::{Failure, Status};

/// How long to leave the kernel alone when it has no descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A socket that takes connections.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// Binds an address, and says what to do when that fails.
pub(crate) async fn listen(address: SocketAddr) -> Result<Listener, Failure> {
    let failed = |error: io::Error| {
        let kind = error.kind();
        let error = anyhow::Error::new(error).context(format!("cannot listen on `{address}`"));
        let failure = Failure::new(Status::Usage, error);
        match kind {
            ErrorKind::AddrInUse => {
                failure.with_hint("something listens there already; stop it, or choose another with --listen")
            }
            ErrorKind::PermissionDenied => {
                failure.with_hint("ports below 1024 need privileges; choose another with --listen")
            }
            ErrorKind::AddrNotAvailable => failure.with_hint("this machine has no such address"),
            _ => failure,
        }
    };
    let socket = TcpListener::bind(address).await.map_err(failed)?;
    let address = socket.local_addr().context("cannot find the address of the socket")?;
    Ok(Listener { socket, address })
}

impl Listener {
    /// Where it listens, with the port that was taken when any was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection, and whose it is. Failures of single connections are passed over.
    pub(crate) async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: connections that end free some.
                    tracing::warn!(%error, "cannot take a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}
