//! Files through real connections, copied and sent.

use std::{convert::Infallible, fs::File, io::Write as _, ops::Range, sync::Arc};

use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use pier_content::{Blob, Body};
use pier_oci::Digest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::ResponseBody;
use crate::{FileQueue, FileSocket};

/// More than two pieces, and no multiple of anything.
const SIZE: usize = (2 << 20) + 4567;

/// How the server's connection treats bodies.
#[derive(Clone, Copy, Debug)]
enum Server {
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

/// A file of `content` that claims to be a blob of `size` bytes.
fn blob(content: &[u8], size: usize) -> Blob {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    let body = Body::File(Arc::<File>::new(file));
    Blob { digest: Digest::sha256(content), size: size as u64, body }
}

/// Serves `requests` on one connection with that range of the blob and gives all that the client received.
async fn received(server: Server, blob: Blob, range: Range<u64>, requests: usize) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let serving = tokio::spawn(async move {
        let answer = |queue: Option<FileQueue>| {
            service_fn(move |_: Request<Incoming>| {
                let (blob, range, queue) = (blob.clone(), range.clone(), queue.clone());
                async move {
                    let body = ResponseBody::blob(blob, range, queue).await.unwrap();
                    Ok::<_, Infallible>(Response::new(body))
                }
            })
        };
        let socket = FileSocket::new(TcpStream::from_std(stream.into_std().unwrap()).unwrap());
        let queue = socket.queue();
        match server {
            Server::Copies => http1::Builder::new().serve_connection(socket, answer(None)).await,
            Server::Sends => http1::Builder::new().serve_connection(socket, answer(Some(queue))).await,
            Server::CopiesHoles => {
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

/// The body of the first response and what follows it.
fn split(received: &[u8]) -> (&[u8], &[u8]) {
    let head = received.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let text = std::str::from_utf8(&received[..head]).unwrap().to_lowercase();
    let length =
        text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    received[head..].split_at(length)
}

#[tokio::test]
async fn a_file_arrives_as_it_is_whichever_way_it_goes() {
    let content = content();
    let end = SIZE as u64;
    for server in [Server::Copies, Server::Sends] {
        for range in [0..end, 5..end - 7, end - 1..end, 1 << 20..1 << 21, 0..40_000, 9..9] {
            let expected =
                &content[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
            let received = received(server, blob(&content, SIZE), range.clone(), 1).await;
            let (body, rest) = split(&received);
            assert!(body == expected && rest.is_empty(), "{server:?} {range:?}");
        }
    }
}

#[tokio::test]
async fn answers_to_requests_that_were_sent_at_once_stay_in_order() {
    let content = content();
    let received = received(Server::Sends, blob(&content, SIZE), 0..SIZE as u64, 3).await;
    let mut rest = &received[..];
    for _ in 0..3 {
        let (body, behind) = split(rest);
        assert!(body == content);
        rest = behind;
    }
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_file_that_is_too_short_cuts_the_connection() {
    let content = content();
    for server in [Server::Copies, Server::Sends] {
        let size = SIZE + 100_000;
        let received = received(server, blob(&content, size), 0..size as u64, 1).await;
        // When the first piece is short already, not even the head is sent.
        let head =
            received.windows(4).position(|window| window == b"\r\n\r\n").map_or(received.len(), |at| at + 4);
        let body = &received[head..];
        assert!(body.len() <= SIZE && *body == content[..body.len()], "{server:?}");
    }
}

#[tokio::test]
async fn a_hole_is_never_sent_itself() {
    let content = content();
    let received = received(Server::CopiesHoles, blob(&content, SIZE), 0..SIZE as u64, 1).await;
    assert_eq!(received, b"");
}

/// A file that is read as usual and that `sendfile(2)` refuses: the kernel's table of this process's pages, at the
/// entries of memory that is in use. Each is eight bytes of which the highest bit is set.
#[tokio::test]
async fn a_file_that_the_kernel_does_not_send_is_copied() {
    const BYTES: usize = 64 << 10;
    const PAGE_BYTES: usize = 4096;
    let in_use = vec![1_u8; (BYTES / 8 + 1) * PAGE_BYTES];
    let start = in_use.as_ptr().addr().div_ceil(PAGE_BYTES) as u64 * 8;
    let pages = Arc::new(File::open("/proc/self/pagemap").unwrap());
    let size = start + BYTES as u64;
    let blob = Blob { digest: Digest::sha256(b""), size, body: Body::File(pages) };
    let received = received(Server::Sends, blob, start..size, 2).await;
    drop(in_use);
    let (first, rest) = split(&received);
    // The second request finds a connection that takes no files any more.
    let (second, rest) = split(rest);
    for body in [first, second] {
        assert_eq!(body.len(), BYTES);
        assert!(body.chunks_exact(8).all(|entry| entry[7] & 0x80 != 0));
    }
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_socket_without_a_queue_serves_like_any_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let content = content();
    let blob = blob(&content, SIZE);
    let serving = tokio::spawn(async move {
        let answer = service_fn(move |_: Request<Incoming>| {
            let blob = blob.clone();
            async move {
                Ok::<_, Infallible>(Response::new(
                    ResponseBody::blob(blob, 0..SIZE as u64, None).await.unwrap(),
                ))
            }
        });
        http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await
    });
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    serving.await.unwrap().unwrap();
    assert!(split(&received).0 == content);
}
