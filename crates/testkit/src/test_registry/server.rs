//! The thread that a test's registry runs on.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};
use std::{io, pin::pin};

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use pier_registry::{FileSocket, Registry};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Serves until it is dropped; the drop waits until nothing of it runs.
pub(super) struct Server {
    address: SocketAddr,
    /// Dropped, it tells the thread to end.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) async fn start(registry: Registry) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (started, starting) = oneshot::channel();
        let thread = thread::Builder::new().name("test-registry".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            runtime.block_on(async move {
                let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
                match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
                    Err(error) => drop(started.send(Err(error))),
                    Ok((address, listener)) => {
                        // Whoever started it may be gone already: then `stopped` says so at once.
                        drop(started.send(Ok(address)));
                        serve(&listener, &registry, stopped).await;
                    }
                }
            });
        })?;
        // The thread says one or the other, or has panicked.
        let address = starting.await.map_err(io::Error::other)??;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed over there; a second one here would abort.
            let _ = thread.join();
        }
    }
}

/// Takes connections until told to stop, and then cuts those that are open.
async fn serve(listener: &TcpListener, registry: &Registry, stopped: oneshot::Receiver<()>) {
    let mut stopped = pin!(stopped);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => {
                // A client that was gone before it was met is no reason to stop.
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, registry.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
    connections.shutdown().await;
    registry.settled().await;
}

async fn connection(stream: TcpStream, registry: Registry) {
    // Without it small answers wait for the acknowledgement of what was sent before; with it failing, they are merely slow.
    let _ = stream.set_nodelay(true);
    let socket = FileSocket::new(stream);
    let service = registry.connection(socket.queue());
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    // What goes wrong with a connection its client sees too, and the test is the client.
    let _ = builder.serve_connection(socket, service).await;
}
