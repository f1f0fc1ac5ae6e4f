//! `pier serve`

use std::sync::Arc;

use anyhow::anyhow;
use pier_registry::{Registry, SessionKey, Settings};

use crate::{
    cli::Serve,
    config::{Config, ServeSection},
    failure::{Failure, Status},
    output,
    serve::{self, Collection, Timing},
    signals::Signals,
};

/// The name of the store's secret that makes upload session ids.
const SESSION_KEY: &str = "upload-session-key";

pub(crate) async fn run(options: &Serve, config: &Config) -> Result<Status, Failure> {
    let section = merge(options, &config.serve);
    refuse_unguarded(&section)?;
    // The address first: a second server on it is told so before it touches the data.
    let listener = serve::listen(section.listen).await?;
    let store = super::open_or_make_store(config)?;
    let key = SessionKey::new(store.secret(SESSION_KEY).await?);
    let store = Arc::new(store);
    let settings = Settings {
        max_blob_bytes: section.max_blob_bytes,
        idle_timeout: section.idle_timeout,
        max_uploads: section.max_uploads,
        ..Settings::new(key)
    };
    let registry = Registry::new(Arc::clone(&store) as _, Arc::clone(&store) as _, settings);
    // Before the line: whoever has read it may send a signal, and expects an end in good order.
    let signals = Signals::listen()?;
    tracing::info!(address = %listener.address(), data = %config.data.display(), "serving");
    output::line(&format!("listening on http://{}", listener.address()))?;
    let timing = Timing {
        every: section.collect_every,
        expiry: config.store.part_expiry.min(config.store.upload_expiry),
    };
    let collection = Collection::start(store, timing);
    let outcome = serve::run(listener, signals, registry, &section).await;
    collection.stop().await;
    outcome
}

fn merge(options: &Serve, file: &ServeSection) -> ServeSection {
    ServeSection {
        listen: options.listen.unwrap_or(file.listen),
        plain_http: options.plain_http || file.plain_http,
        allow_anonymous: options.allow_anonymous || file.allow_anonymous,
        drain_timeout: options.drain_timeout.unwrap_or(file.drain_timeout),
        ..file.clone()
    }
}

/// Beyond this machine, a server without TLS and access rules has to be asked for in so many words.
fn refuse_unguarded(section: &ServeSection) -> Result<(), Failure> {
    if section.listen.ip().is_loopback() || (section.plain_http && section.allow_anonymous) {
        return Ok(());
    }
    let error = anyhow!(
        "`{}` can be reached from other machines, and there is neither TLS nor access control",
        section.listen
    );
    Err(Failure::new(Status::Usage, error).with_hint(
        "listen on a loopback address behind a proxy, or say both --plain-http and --allow-anonymous",
    ))
}
