//! Files through real connections, copied and sent, by a server and by a client.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{convert::Infallible, fs::File, io::Write as _, ops::Range, sync::Arc};

use hyper::{Request, Response, body::Incoming, client, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use pier_sendfile::{FileBody, FileQueue, FileSocket};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// More than one piece, and no multiple of anything.
const SIZE: usize = (2 << 20) + 4567;

/// How the sender's connection treats bodies.
#[derive(Clone, Copy, Debug)]
enum Sender {
    /// hyper sees the bytes.
    Copies,
    /// The socket sends them.
    Sends,
    /// The socket would send them, but hyper copies what it is given.
    CopiesHoles,
}

fn content() -> Vec<u8> {
    // No two pieces are the same, so that one in the wrong place shows.
    (0..SIZE)
        .flat_map(|word| (word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .take(SIZE)
        .collect()
}

fn file(content: &[u8]) -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.into()
}

async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// Answers `requests` on one connection with that range of the file and gives all that the client received.
async fn answered(server: Sender, file: Arc<File>, range: Range<u64>, requests: usize) -> Vec<u8> {
    let (mut client, stream) = connection().await;
    let serving = tokio::spawn(async move {
        let answer = |queue: Option<FileQueue>| {
            service_fn(move |_: Request<Incoming>| {
                let body = FileBody::new(Arc::clone(&file), range.clone(), queue.clone());
                async move { Ok::<_, Infallible>(Response::new(body)) }
            })
        };
        let socket = FileSocket::new(stream);
        let queue = socket.queue();
        match server {
            Sender::Copies => http1::Builder::new().serve_connection(socket, answer(None)).await,
            Sender::Sends => http1::Builder::new().serve_connection(socket, answer(Some(queue))).await,
            Sender::CopiesHoles => {
                http1::Builder::new().pipeline_flush(true).serve_connection(socket, answer(Some(queue))).await
            }
        }
    });
    for number in 1..=requests {
        let connection = if number == requests { "close" } else { "keep-alive" };
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: {connection}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
    }
    let mut received = Vec::new();
    let _ = client.read_to_end(&mut received).await;
    let _ = serving.await.unwrap();
    received
}

/// Sends `requests` with that range of the file on one connection, one behind the other, and gives all that the server received, and how
/// much of it was counted as sent out of files.
async fn asked(client: Sender, file: Arc<File>, range: Range<u64>, requests: usize) -> (Vec<u8>, u64) {
    let (stream, mut server) = connection().await;
    let length = range.end - range.start;
    let receiving = tokio::spawn(async move {
        let mut received = Vec::new();
        for _ in 0..requests {
            let before = received.len();
            while bodies(&received[before..]) < length {
                if server.read_buf(&mut received).await.unwrap_or_default() == 0 {
                    return received;
                }
            }
            server.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
        server.read_to_end(&mut received).await.unwrap();
        received
    });
    let socket = FileSocket::new(stream);
    let queue = socket.queue();
    let mut builder = client::conn::http1::Builder::new();
    if matches!(client, Sender::CopiesHoles) {
        builder.writev(false);
    }
    let (mut sender, connection) = builder.handshake::<_, FileBody>(socket).await.unwrap();
    let connection = tokio::spawn(connection);
    for _ in 0..requests {
        let to_body = (!matches!(client, Sender::Copies)).then(|| queue.clone());
        let body = FileBody::new(Arc::clone(&file), range.clone(), to_body);
        let request = Request::patch("/").header(header::HOST, "a").body(body).unwrap();
        if sender.ready().await.is_err() || sender.send_request(request).await.is_err() {
            break;
        }
    }
    drop(sender);
    let _ = connection.await.unwrap();
    (receiving.await.unwrap(), queue.sent())
}

/// Bytes behind the head of a request that has begun to arrive.
fn bodies(received: &[u8]) -> u64 {
    head(received).map_or(0, |head| (received.len() - head) as u64)
}

fn head(received: &[u8]) -> Option<usize> {
    received.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// The body of the first message and what follows it.
fn split(received: &[u8]) -> (&[u8], &[u8]) {
    let head = head(received).unwrap();
    let text = std::str::from_utf8(&received[..head]).unwrap().to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    received[head..].split_at(length.parse().unwrap())
}

fn slice(content: &[u8], range: Range<u64>) -> &[u8] {
    &content[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
}

#[tokio::test]
async fn a_file_arrives_as_it_is_whichever_way_it_goes() {
    let content = content();
    let end = SIZE as u64;
    for sender in [Sender::Copies, Sender::Sends] {
        for range in [0..end, 5..end - 7, end - 1..end, 1 << 20..1 << 21, 0..40_000, 9..9] {
            let expected = slice(&content, range.clone());
            let received = answered(sender, file(&content), range.clone(), 1).await;
            let (body, rest) = split(&received);
            assert!(body == expected && rest.is_empty(), "a server that {sender:?} {range:?}");
            if range.is_empty() {
                continue;
            }
            let (received, sent) = asked(sender, file(&content), range.clone(), 1).await;
            let (body, rest) = split(&received);
            assert!(body == expected && rest.is_empty(), "a client that {sender:?} {range:?}");
            let by_kernel = matches!(sender, Sender::Sends) && expected.len() >= 40_000;
            assert_eq!(sent, if by_kernel { expected.len() as u64 } else { 0 }, "{sender:?} {range:?}");
        }
    }
}

#[tokio::test]
async fn messages_on_one_connection_stay_in_order() {
    let content = content();
    let all = 0..SIZE as u64;
    let answers = answered(Sender::Sends, file(&content), all.clone(), 3).await;
    let (requests, sent) = asked(Sender::Sends, file(&content), all, 3).await;
    assert_eq!(sent, 3 * SIZE as u64);
    for received in [answers, requests] {
        let mut rest = &received[..];
        for _ in 0..3 {
            let (body, behind) = split(rest);
            assert!(body == content);
            rest = behind;
        }
        assert!(rest.is_empty());
    }
}

#[tokio::test]
async fn a_file_that_is_too_short_cuts_the_connection() {
    let content = content();
    for sender in [Sender::Copies, Sender::Sends] {
        let claimed = 0..(SIZE + 100_000) as u64;
        let answer = answered(sender, file(&content), claimed.clone(), 1).await;
        let (request, _) = asked(sender, file(&content), claimed, 1).await;
        for received in [answer, request] {
            // When the first piece is short already, not even the head is sent.
            let body = &received[head(&received).unwrap_or(received.len())..];
            assert!(body.len() <= SIZE && *body == content[..body.len()], "{sender:?}");
        }
    }
}

#[tokio::test]
async fn a_hole_is_never_sent_itself() {
    let content = content();
    let all = 0..SIZE as u64;
    assert_eq!(answered(Sender::CopiesHoles, file(&content), all.clone(), 1).await, b"");
    assert_eq!(asked(Sender::CopiesHoles, file(&content), all, 1).await, (Vec::new(), 0));
}

/// A file that is read as usual and that `sendfile(2)` refuses: the kernel's table of this process's pages, at the
/// entries of memory that is in use. Each is eight bytes of which the highest bit is set.
#[tokio::test]
async fn a_file_that_the_kernel_does_not_send_is_copied() {
    const BYTES: usize = 64 << 10;
    const PAGE_BYTES: usize = 4096;
    let in_use = vec![1_u8; (BYTES / 8 + 1) * PAGE_BYTES];
    let start = in_use.as_ptr().addr().div_ceil(PAGE_BYTES) as u64 * 8;
    let range = start..start + BYTES as u64;
    let pages = Arc::new(File::open("/proc/self/pagemap").unwrap());
    let answers = answered(Sender::Sends, Arc::clone(&pages), range.clone(), 2).await;
    let (requests, _) = asked(Sender::Sends, pages, range, 2).await;
    drop(in_use);
    for received in [answers, requests] {
        let (first, rest) = split(&received);
        // The second message finds a connection that takes no files any more.
        let (second, rest) = split(rest);
        for body in [first, second] {
            assert_eq!(body.len(), BYTES);
            assert!(body.chunks_exact(8).all(|entry| entry[7] & 0x80 != 0));
        }
        assert_eq!(rest, b"");
    }
}

#[tokio::test]
async fn a_socket_without_a_queue_serves_like_any_other() {
    let (mut client, stream) = connection().await;
    let content = content();
    let file = file(&content);
    let serving = tokio::spawn(async move {
        let answer = service_fn(move |_: Request<Incoming>| {
            let body = FileBody::new(Arc::clone(&file), 0..SIZE as u64, None);
            async move { Ok::<_, Infallible>(Response::new(body)) }
        });
        http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await
    });
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    serving.await.unwrap().unwrap();
    assert!(split(&received).0 == content);
}
