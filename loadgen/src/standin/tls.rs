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
