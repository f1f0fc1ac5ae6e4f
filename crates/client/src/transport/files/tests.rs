//! Against a server that does what a test says, request by request.

use std::{fs::File, io::Write as _, time::Duration};

use futures_util::TryStreamExt as _;
use pier_sendfile::FileBody;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
};

use super::*;

const SIZE: usize = (4 << 20) + 99;

const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    answer: Duration::from_millis(750),
    stall: Duration::from_millis(750),
};

/// What the server does with a request.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Reads it and says yes.
    Takes,
    /// The same, in words.
    TakesAndTells,
    /// Says no before the body is there, and keeps the connection.
    Refuses,
    /// Reads a little now and then, and says yes.
    TakesSlowly,
    /// Nothing.
    Sleeps,
}

/// What came over one connection.
#[derive(Debug)]
struct Taken {
    connection: usize,
    head: String,
    body: Vec<u8>,
}

/// Serves one connection after the other, each until its list is done. Then it is closed.
async fn serve(listener: TcpListener, script: Vec<Vec<Does>>, told: mpsc::UnboundedSender<Taken>) {
    let mut kept = Vec::new();
    for (connection, requests) in script.into_iter().enumerate() {
        let (mut stream, _) = listener.accept().await.unwrap();
        for does in requests {
            match does {
                Does::Sleeps => {
                    kept.push(stream);
                    break;
                }
                Does::Refuses => {
                    read_head(&mut stream).await;
                    stream
                        .write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno")
                        .await
                        .unwrap();
                    kept.push(stream);
                    break;
                }
                Does::Takes | Does::TakesAndTells | Does::TakesSlowly => {
                    let (head, mut body) = read_head(&mut stream).await;
                    while body.len() < SIZE {
                        if matches!(does, Does::TakesSlowly) {
                            // The server's slowness is what is tested, not waited for.
                            tokio::time::sleep(Duration::from_millis(60)).await;
                        }
                        let mut some = vec![0; 64 << 10];
                        let read = stream.read(&mut some).await.unwrap();
                        assert_ne!(read, 0, "the client has given up");
                        body.extend_from_slice(&some[..read]);
                    }
                    told.send(Taken { connection, head, body }).unwrap();
                    let answer = if matches!(does, Does::TakesAndTells) {
                        "HTTP/1.1 201 Created\r\ncontent-length: 5\r\nx-pier: a\r\n\r\nthere"
                    } else {
                        "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
                    };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        }
    }
    std::future::pending::<()>().await;
}

async fn read_head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut received = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0, "the client has given up");
        if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = received.split_off(at + 4);
            return (String::from_utf8(received).unwrap(), body);
        }
    }
}

/// Such a server, a file, and the connections to be tested.
struct Way {
    url: Url,
    file: Arc<File>,
    content: Vec<u8>,
    told: mpsc::UnboundedReceiver<Taken>,
    connections: FileConnections,
    _server: AbortOnDropHandle<()>,
}

impl Way {
    fn new(script: Vec<Vec<Does>>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Here and below: so that little of the body is on its way.
        socket.set_recv_buffer_size(64 << 10).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(16).unwrap();
        let url = format!("http://{}/v2/a/blobs/uploads/1?state=b%20c", listener.local_addr().unwrap());
        let content: Vec<u8> = (0..=250).cycle().take(SIZE).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let (tell, told) = mpsc::unbounded_channel();
        let mut connections = FileConnections::new("pier/test".to_owned(), TIMEOUTS.connect);
        connections.connector.set_send_buffer_size(Some(64 << 10));
        Self {
            url: url.parse().unwrap(),
            file: Arc::new(file),
            content,
            told,
            connections,
            _server: AbortOnDropHandle::new(tokio::spawn(serve(listener, script, tell))),
        }
    }

    async fn send(&self) -> Result<reqwest::Response, Failure> {
        let file = Arc::clone(&self.file);
        let read: ReadFile = Box::new(move |queue| {
            FileBody::new(Arc::clone(&file), 0..SIZE as u64, queue)
                .map_err(|error| pier_content::Error::io("read", "a file", error))
                .boxed()
        });
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, SIZE.into());
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer t"));
        self.connections.send(&Method::PATCH, &self.url, &headers, &read, TIMEOUTS).await
    }

    /// Bytes that the kernel sent on the connections that are kept.
    fn by_kernel(&self) -> u64 {
        self.connections.idle.lock().iter().map(|(connection, _)| connection.queue.sent()).sum()
    }

    fn taken(&mut self) -> Taken {
        let taken = self.told.try_recv().unwrap();
        assert!(taken.body == self.content, "the body is another");
        taken
    }
}

#[tokio::test]
async fn a_file_is_sent_by_the_kernel_on_a_connection_that_is_used_again() {
    let mut way = Way::new(vec![vec![Does::TakesAndTells, Does::Takes, Does::Takes]]);
    let answer = way.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["x-pier"]), (201, &"a".parse().unwrap()));
    assert_eq!(*answer.url(), way.url);
    assert_eq!(way.by_kernel(), 0, "it is not free before its answer is read");
    assert_eq!(answer.bytes().await.unwrap(), "there");
    for _ in 0..2 {
        assert_eq!(way.send().await.unwrap().status().as_u16(), 202);
    }
    assert_eq!(way.by_kernel(), 3 * SIZE as u64);
    let host = way.url.authority().to_owned();
    for _ in 0..3 {
        let taken = way.taken();
        assert_eq!(taken.connection, 0);
        let lines: Vec<&str> = taken.head.trim_end().lines().collect();
        assert_eq!(lines[0], "PATCH /v2/a/blobs/uploads/1?state=b%20c HTTP/1.1");
        let mut fields = lines[1..].to_vec();
        fields.sort_unstable();
        let expected = [
            "accept: */*".to_owned(),
            "authorization: Bearer t".to_owned(),
            format!("content-length: {SIZE}"),
            format!("host: {host}"),
            "user-agent: pier/test".to_owned(),
        ];
        assert_eq!(fields, expected);
    }
}

#[tokio::test]
async fn a_connection_that_the_other_side_has_closed_costs_nothing() {
    let mut way = Way::new(vec![vec![Does::Takes]; 8]);
    for connection in 0..8 {
        way.send().await.unwrap();
        assert_eq!(way.taken().connection, connection);
    }
}

/// The same where nobody has noticed before the next request is on its way.
#[tokio::test]
async fn a_connection_that_is_found_closed_costs_nothing() {
    let mut way = Way::new(vec![vec![Does::Takes, Does::Sleeps], vec![Does::Takes]]);
    way.send().await.unwrap();
    // It ends when this test lets go of the only thread.
    way.connections.idle.lock()[0].0.driver.abort();
    assert!(way.connections.idle.lock()[0].0.sender.is_ready());
    way.send().await.unwrap();
    assert_eq!((way.taken().connection, way.taken().connection), (0, 1));
}

#[tokio::test]
async fn a_connection_that_nobody_used_for_long_is_left_alone() {
    let mut way = Way::new(vec![vec![Does::Takes, Does::Sleeps], vec![Does::Takes]]);
    way.send().await.unwrap();
    tokio::time::pause();
    tokio::time::advance(KEPT_FOR).await;
    tokio::time::resume();
    way.send().await.unwrap();
    assert_eq!((way.taken().connection, way.taken().connection), (0, 1));
}

#[tokio::test]
async fn a_refusal_comes_through_and_its_connection_is_not_used_again() {
    let mut way = Way::new(vec![vec![Does::Refuses], vec![Does::Takes, Does::Takes]]);
    let answer = way.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 401);
    assert_eq!(answer.bytes().await.unwrap(), "no");
    assert_eq!(way.connections.idle.lock().len(), 0);
    for _ in 0..2 {
        way.send().await.unwrap();
        assert_eq!(way.taken().connection, 1);
    }
}

#[tokio::test]
async fn nobody_who_listens_is_no_connection() {
    let mut way = Way::new(Vec::new());
    // Bound and not listening, so that nobody else gets the port meanwhile.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    way.url.set_port(Some(socket.local_addr().unwrap().port())).unwrap();
    let error = way.send().await.unwrap_err();
    assert!(error.is::<NoConnection>(), "{error:?}");
}

#[tokio::test]
async fn a_server_that_takes_nothing_is_given_up() {
    let way = Way::new(vec![vec![Does::Sleeps]]);
    let error = way.send().await.unwrap_err();
    assert!(error.is::<NoAnswer>(), "{error:?}");
}

/// A piece of a file takes it several times as long as a connection may be silent.
#[tokio::test]
async fn a_server_that_takes_little_at_a_time_is_waited_for() {
    let mut way = Way::new(vec![vec![Does::TakesSlowly]]);
    way.send().await.unwrap();
    way.taken();
}

#[tokio::test]
async fn a_file_that_cannot_be_read_ends_the_request() {
    let way = Way::new(vec![vec![Does::Takes]]);
    way.file.set_len(1 << 20).unwrap();
    way.send().await.unwrap_err();
    assert_eq!(way.by_kernel(), 0, "a broken connection is not kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_files_at_once_come_whole() {
    let mut way = Way::new(Vec::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    way.url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let tell = tell.clone();
            connections.spawn(async move {
                loop {
                    let (_, mut body) = read_head(&mut stream).await;
                    while body.len() < SIZE {
                        assert_ne!(stream.read_buf(&mut body).await.unwrap(), 0, "the client has given up");
                    }
                    tell.send(body).unwrap();
                    stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    for _ in 0..3 {
        let sent = futures_util::future::join_all((0..6).map(|_| way.send())).await;
        assert!(sent.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status() == 202)));
    }
    server.abort();
    for _ in 0..18 {
        assert!(told.try_recv().unwrap() == way.content, "a body is another");
    }
}
