//! `pier serve`

use std::sync::Arc;

use anyhow::anyhow;
use pier_content::Completeness;
use pier_registry::{Registry, SessionKey, Settings};

use crate::{
    cli::Serve,
    config::{Config, Manifests, ServeSection},
    failure::{Failure, Status},
    output,
    serve::{self, Access, Collection, Entrance, Monitor, Monitored, Others, Timing, Tls, TlsFiles, Users},
    signals::Signals,
};

/// The name of the store's secret that makes upload session ids.
const SESSION_KEY: &str = "upload-session-key";

pub(crate) async fn run(options: &Serve, config: &Config) -> Result<Status, Failure> {
    let section = merge(options, &config.serve);
    let entrance = entrance(&section)?;
    // The address first: a second server on it is told so before it touches the data.
    let listener = serve::listen(section.listen).await?;
    let monitoring = match section.metrics_listen {
        Some(address) => Some(serve::listen(address).await?),
        None => None,
    };
    let store = super::open_or_make_store(config)?;
    let key = SessionKey::new(store.secret(SESSION_KEY).await?);
    let store = Arc::new(store);
    let settings = Settings {
        max_blob_bytes: section.max_blob_bytes,
        idle_timeout: section.idle_timeout,
        max_uploads: section.max_uploads,
        immutable: section.immutable_tags.iter().cloned().collect(),
        completeness: match section.manifests {
            Manifests::Complete => Completeness::Strict,
            Manifests::Sparse => Completeness::Sparse,
        },
        ..Settings::new(key)
    };
    let registry = Registry::new(Arc::clone(&store) as _, Arc::clone(&store) as _, settings);
    // Before the line: whoever has read it may send a signal, and expects an end in good order.
    let signals = Signals::listen()?;
    let scheme = if entrance.tls.is_some() { "https" } else { "http" };
    tracing::info!(scheme, address = %listener.address(), data = %config.data.display(), "serving");
    if let Some(monitoring) = &monitoring {
        tracing::info!(address = %monitoring.address(), "answering /metrics, /livez and /readyz");
    }
    output::line(&format!("listening on {scheme}://{}", listener.address()))?;
    let timing = Timing {
        every: section.collect_every,
        expiry: config.store.part_expiry.min(config.store.upload_expiry),
    };
    let collection = Collection::start(Arc::clone(&store), timing);
    let monitor = Monitor::new(store, registry.clone(), collection.tally());
    let monitored = Monitored { monitor, listener: monitoring };
    let outcome = serve::run(listener, signals, registry, entrance, monitored, &section).await;
    collection.stop().await;
    outcome
}

fn merge(options: &Serve, file: &ServeSection) -> ServeSection {
    ServeSection {
        listen: options.listen.unwrap_or(file.listen),
        plain_http: options.plain_http || file.plain_http,
        allow_anonymous: options.allow_anonymous || file.allow_anonymous,
        tls_cert: options.tls_cert.clone().or_else(|| file.tls_cert.clone()),
        tls_key: options.tls_key.clone().or_else(|| file.tls_key.clone()),
        htpasswd: options.htpasswd.clone().or_else(|| file.htpasswd.clone()),
        anonymous_pull: options.anonymous_pull || file.anonymous_pull,
        drain_timeout: options.drain_timeout.unwrap_or(file.drain_timeout),
        ..file.clone()
    }
}

/// How clients get in. Beyond this machine, a server without TLS or without access control has to be asked for in so many words.
fn entrance(section: &ServeSection) -> Result<Entrance, Failure> {
    let usage = |error, hint: &str| Failure::new(Status::Usage, error).with_hint(hint);
    let tls = match (&section.tls_cert, &section.tls_key) {
        (Some(certificate), Some(key)) => {
            Some(TlsFiles { certificate: certificate.clone(), key: key.clone() })
        }
        (None, None) => None,
        (Some(_), None) => {
            return Err(usage(
                anyhow!("there is a certificate for TLS and no key"),
                "name the key with --tls-key, or `tls-key`; both may be in one file",
            ));
        }
        (None, Some(_)) => {
            return Err(usage(
                anyhow!("there is a key for TLS and no certificate"),
                "name the certificate with --tls-cert, or `tls-cert`; both may be in one file",
            ));
        }
    };
    if section.htpasswd.is_none() && section.anonymous_pull {
        return Err(usage(
            anyhow!("`anonymous-pull` says who need not log in to pull, and there is nobody who can log in"),
            "name those who can push with --htpasswd, or `htpasswd`",
        ));
    }
    if section.htpasswd.is_some() && section.allow_anonymous {
        return Err(usage(
            anyhow!("`allow-anonymous` lets everybody do everything, and `htpasswd` says who may"),
            "leave out one of them; to let everybody pull and nothing else, say `anonymous-pull`",
        ));
    }
    refuse_unguarded(section)?;
    let access = match &section.htpasswd {
        None => Access::open(),
        Some(file) => {
            let users = Users::load(file.clone())?;
            let others = if section.anonymous_pull { Others::Pull } else { Others::Refused };
            tracing::info!(users = users.len(), ?others, "access control");
            Access::of_users(users, others)
        }
    };
    Ok(Entrance { tls: tls.map(Tls::load).transpose()?, access })
}

fn refuse_unguarded(section: &ServeSection) -> Result<(), Failure> {
    if section.listen.ip().is_loopback() {
        return Ok(());
    }
    let is_private = section.tls_cert.is_some() || section.plain_http;
    let is_guarded = section.htpasswd.is_some() || section.allow_anonymous;
    let (lacks, hint) = match (is_private, is_guarded) {
        (true, true) => return Ok(()),
        (false, true) => ("there is no TLS", "name --tls-cert and --tls-key, or say --plain-http"),
        (true, false) => ("there is no access control", "name --htpasswd, or say --allow-anonymous"),
        (false, false) => (
            "there is neither TLS nor access control",
            "name --tls-cert, --tls-key and --htpasswd, or say both --plain-http and --allow-anonymous",
        ),
    };
    let error = anyhow!("`{}` can be reached from other machines, and {lacks}", section.listen);
    Err(Failure::new(Status::Usage, error).with_hint(hint))
}
