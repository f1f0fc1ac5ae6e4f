//! Whether a server speaks TLS, found out without speaking it.
//!
//! A real handshake needs randomness, keys and certificates, which together cost more than pulling a small image; the first byte of the
//! answer to a greeting says as much. The greeting is a valid one of TLS 1.2 that agrees to nothing: any server of TLS answers it with
//! a record, be that its own greeting or an alert.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How long a server may take to answer the greeting. One of plain HTTP may wait for the end of a line that never comes.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a server answers a greeting in TLS with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeted {
    /// TLS.
    Tls,
    /// Anything else: other words, silence, or the end of the connection.
    NotTls,
}

/// Where randomness would be (RFC 5246 7.4.1.2): nothing is ever encrypted with it. It ends two lines, so that a server that reads lines
/// answers at once.
const NOT_RANDOM: &[u8; 32] = b"pier asks: is this TLS or not?\r\n";

/// ECDHE-RSA and ECDHE-ECDSA with AES-128-GCM, and TLS 1.3's AES-128-GCM.
const SUITES: [u8; 6] = [0xc0, 0x2f, 0xc0, 0x2b, 0x13, 0x01];

/// Greets the server at the other end of a new connection.
///
/// # Errors
/// When there is nobody to connect to.
pub(super) async fn greet(host: &str, port: u16, connect: Duration) -> io::Result<Greeted> {
    let connecting = timeout(connect, TcpStream::connect((host, port)));
    let mut stream = connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let mut first = [0];
    let exchange = async {
        stream.write_all(&hello()).await?;
        stream.read_exact(&mut first).await
    };
    Ok(match timeout(PATIENCE, exchange).await {
        Ok(Ok(_)) if is_record(first[0]) => Greeted::Tls,
        _ => Greeted::NotTls,
    })
}

/// An alert or a handshake (RFC 5246 6.2.1). No line of HTTP begins with either.
fn is_record(first: u8) -> bool {
    matches!(first, 21 | 22)
}

/// A record with a `ClientHello` (RFC 5246 7.4.1.2) without a session and without extensions.
fn hello() -> Vec<u8> {
    let body = [&[3, 3], NOT_RANDOM.as_slice(), &[0], &framed(SUITES.to_vec()), &[1, 0]].concat();
    let handshake = [&[1, 0], framed(body).as_slice()].concat();
    [&[22, 3, 1], framed(handshake).as_slice()].concat()
}

/// Behind its length in two bytes.
fn framed(bytes: Vec<u8>) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "the parts of a greeting are some dozens of bytes")]
    let length = u16::try_from(bytes.len()).expect("a short part");
    [length.to_be_bytes().to_vec(), bytes].concat()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What is made of a server that reads the greeting and answers this.
    async fn check(answer: &'static [u8], expected: Greeted) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut greeting = vec![0; hello().len()];
            stream.read_exact(&mut greeting).await.unwrap();
            stream.write_all(answer).await.unwrap();
            greeting
        });
        let greeted = greet("127.0.0.1", port, PATIENCE).await.unwrap();
        assert_eq!(greeted, expected, "{answer:?}");
        assert_eq!(server.await.unwrap(), hello());
    }

    #[tokio::test]
    async fn the_first_byte_of_the_answer_decides() {
        check(&[22, 3, 3, 0, 1, 2], Greeted::Tls).await;
        check(&[21, 3, 3, 0, 2, 2, 40], Greeted::Tls).await;
        check(b"HTTP/1.1 400 Bad Request\r\n\r\n", Greeted::NotTls).await;
        check(b"", Greeted::NotTls).await;
    }

    #[tokio::test]
    async fn nobody_to_greet_is_an_error() {
        // Bound and not listening, so that nobody else gets the port meanwhile.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let error = greet("127.0.0.1", port, PATIENCE).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn the_greeting_is_as_long_as_it_says() {
        let hello = hello();
        assert_eq!(hello.len(), 5 + 4 + 2 + 32 + 1 + 2 + 6 + 2);
        assert_eq!(hello[..11], [22, 3, 1, 0, 49, 1, 0, 0, 45, 3, 3]);
    }
}
