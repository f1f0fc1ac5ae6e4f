//! What the kernel is told about a connection's socket.

use std::{io, time::Duration};

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// How long a peer may be silent before the kernel asks whether it is still there.
const PROBE_AFTER: Duration = Duration::from_mins(1);

/// How often it asks then.
const PROBE_EVERY: Duration = Duration::from_secs(15);

/// How often without an answer.
const PROBES: u32 = 4;

/// Sets a connection up so that small answers leave at once, and that a peer which has vanished is found out: after
/// `stall` when something is to be sent to it, after two minutes else.
pub(super) fn prepare(stream: &TcpStream, stall: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_tcp_keepidle(stream, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    sockopt::set_socket_keepalive(stream, true)?;
    // Milliseconds, and 0 is the kernel's default.
    let stall = u32::try_from(stall.as_millis()).unwrap_or(0);
    Ok(sockopt::set_tcp_user_timeout(stream, stall)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_that_vanished_is_found_out() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        prepare(&stream, Duration::from_secs(7)).unwrap();
        assert!(stream.nodelay().unwrap());
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap() + 4 * PROBE_EVERY, Duration::from_mins(2));
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 7000);
    }
}
