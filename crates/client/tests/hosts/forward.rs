//! A forward proxy that leads every request to one registry, whatever host was asked for, and notes which it was.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

/// Ends when dropped.
pub(crate) struct ForwardProxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    task: AbortHandle,
}

impl ForwardProxy {
    pub(crate) async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(forward(stream, upstream, Arc::clone(&noted)));
            }
        });
        Self { address, heads, task: task.abort_handle() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of all requests that came.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// Methods and hosts of all requests that came.
    pub(crate) fn asked(&self) -> Vec<String> {
        let line = |head: &String| {
            let mut words = head.split(' ');
            let (method, target) = (words.next().unwrap(), words.next().unwrap());
            let host = target.strip_prefix("http://").unwrap_or(target).split('/').next().unwrap();
            format!("{method} {host}")
        };
        self.heads().iter().map(line).collect()
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut client: TcpStream, upstream: SocketAddr, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    heads.lock().unwrap().push(head.clone());
    let mut server = TcpStream::connect(upstream).await.unwrap();
    if head.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    } else {
        // One request a connection: whoever comes again is noted again.
        let (line, fields) = head.split_once("\r\n").unwrap();
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let path = target.strip_prefix("http://").unwrap().split_once('/').unwrap().1;
        let head = format!("{method} /{path} HTTP/1.1\r\nConnection: close\r\n{fields}");
        server.write_all(head.as_bytes()).await.unwrap();
    }
    // Either side may end it.
    let _ = copy_bidirectional(&mut client, &mut server).await;
}
