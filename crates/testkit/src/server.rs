//! A server of a test: a port of loopback that the system chose, and a thread with a runtime of its own.
//!
//! So it answers while a test blocks, works in tests that are not asynchronous, and ends with the value, whoever has connections open.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::{fmt, io};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// What is done with each connection.
pub(crate) trait Serve: Send + Sync + 'static {
    /// Answers one connection to its end. Dropped at any await when the server stops or cuts its connections.
    fn connection(self: Arc<Self>, stream: TcpStream) -> impl Future<Output = ()> + Send + 'static;

    /// Waits for what goes on behind connections that have ended.
    fn settled(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Serves until it is dropped; the drop waits until nothing of it runs.
pub(crate) struct Server {
    address: SocketAddr,
    /// Each message asks to cut all connections and is answered when they are. Dropped, it tells the thread to end.
    cuts: Option<mpsc::Sender<oneshot::Sender<()>>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts to listen; connections are taken when this returns.
    pub(crate) async fn start(name: &str, served: Arc<impl Serve>) -> io::Result<Self> {
        let (cuts, cut) = mpsc::channel(1);
        let (started, starting) = oneshot::channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            runtime.block_on(async move {
                let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
                match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
                    Err(error) => drop(started.send(Err(error))),
                    Ok((address, listener)) => {
                        // Whoever started it may be gone already: then `cut` says so at once.
                        drop(started.send(Ok(address)));
                        serve(&listener, &served, cut).await;
                    }
                }
            });
        })?;
        // The thread says one or the other, or has panicked.
        let address = starting.await.map_err(io::Error::other)??;
        Ok(Self { address, cuts: Some(cuts), thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection; none of them is open when this returns.
    #[cfg(feature = "proxy")]
    pub(crate) async fn cut_all(&self) {
        let Some(cuts) = &self.cuts else { return };
        let (done, cut) = oneshot::channel();
        // A thread that has ended has no connections either.
        if cuts.send(done).await.is_ok() {
            let _ = cut.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.cuts.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed over there; a second one here would abort.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.address)
    }
}

/// Takes connections until told to stop, and then cuts those that are open.
async fn serve(
    listener: &TcpListener,
    served: &Arc<impl Serve>,
    mut cut: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            asked = cut.recv() => {
                connections.shutdown().await;
                let Some(done) = asked else { break };
                // Whoever asked may have stopped to wait.
                let _ = done.send(());
            }
            accepted = listener.accept() => {
                // A client that was gone before it was met is no reason to stop.
                if let Ok((stream, _)) = accepted {
                    // Without it small answers wait for the acknowledgement of what was sent before; with it failing, they are merely slow.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(Arc::clone(served).connection(stream));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
    served.settled().await;
}
