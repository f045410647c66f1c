//! TLS for loopback: an authority and a certificate of its own, made at each start and never written by this module.
//!
//! The AWS SDK speaks HTTP/2 only where TLS negotiates it (ALPN), so fan-out as the service has it needs this. The
//! provider is ring, given by name: nothing here depends on, or sets, the process's default.

use std::sync::Arc;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer},
};

/// What clients can call this machine, from this machine.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// How connections are secured, and what a client must trust.
#[derive(Clone)]
pub struct Tls {
    /// The authority's certificate (PEM): what a client must trust.
    pub ca_pem: String,
    /// Accepts connections; offers `h2` and `http/1.1`.
    pub acceptor: TlsAcceptor,
}

impl Tls {
    /// A new authority, and a certificate of it for loopback. Keys stay in memory.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn create() -> anyhow::Result<Self> {
        let (ca_pem, issuer) = authority().context("cannot make a certificate authority")?;
        let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
        params
            .distinguished_name
            .push(DnType::CommonName, "localhost");
        params.use_authority_key_identifier_extension = true;
        params.key_usages.push(KeyUsagePurpose::DigitalSignature);
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ServerAuth);
        let key = KeyPair::generate()?;
        let certificate = params
            .signed_by(&key, &issuer)
            .context("cannot make a certificate")?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            ca_pem,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }
}

fn authority() -> anyhow::Result<(String, Issuer<'static, KeyPair>)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(
        DnType::CommonName,
        "a stand-in of this machine, for one run",
    );
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), Issuer::new(params, key)))
}

#[cfg(test)]
mod tests {
    use tokio_rustls::{
        TlsConnector,
        rustls::{
            ClientConfig, RootCertStore,
            pki_types::{CertificateDer, ServerName, pem::PemObject as _},
        },
    };

    use super::*;

    /// A handshake with a client that trusts `ca_pem` and offers `protocols`: what was agreed on.
    async fn agreed(tls: &Tls, ca_pem: &str, protocols: &[&str]) -> Result<Option<String>, String> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("a certificate");
        roots.add(ca).expect("an authority");
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| (*name).into()).collect();
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        let (client, _) = tokio::join!(connector.connect(name, ours), tls.acceptor.accept(theirs));
        let client = client.map_err(|error| error.to_string())?;
        let protocol = client.get_ref().1.alpn_protocol();
        Ok(protocol.map(|name| String::from_utf8_lossy(name).into_owned()))
    }

    #[tokio::test]
    async fn http_2_is_agreed_on_where_a_client_offers_it() {
        let tls = Tls::create().expect("a certificate");
        for (offered, expected) in [
            (&["h2", "http/1.1"][..], Some("h2")),
            (&["http/1.1", "h2"], Some("h2")),
            (&["http/1.1"], Some("http/1.1")),
            (&[], None),
        ] {
            let found = agreed(&tls, &tls.ca_pem, offered).await.expect("trusted");
            assert_eq!(found.as_deref(), expected, "{offered:?}");
        }
    }

    #[tokio::test]
    async fn a_client_that_trusts_another_run_is_not_served() {
        let (tls, other) = (Tls::create(), Tls::create());
        let (tls, other) = (tls.expect("a certificate"), other.expect("another"));
        let refused = agreed(&tls, &other.ca_pem, &["h2"]).await;
        assert!(refused.is_err_and(|why| why.contains("certificate")));
    }
}
