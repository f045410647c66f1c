//! Whose certificates are trusted: the system's, and those of `aws.ca_file` beside them.
//!
//! Beside, not instead: one service may be reached at a private endpoint while the others are reached at the public ones.

use std::path::{Path, PathBuf};

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The file of certificates is of no use.
#[derive(Debug, thiserror::Error)]
#[error("aws.ca_file {}: {why}", path.display())]
pub struct TrustError {
    path: PathBuf,
    why: String,
}

/// The certificates that were read.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    /// The file as it was read, once it was seen to be well.
    pem: Option<Vec<u8>>,
    own: RootCertStore,
}

impl Trust {
    /// Reads the file, where there is one.
    pub(super) fn load(path: Option<&Path>) -> Result<Self, TrustError> {
        let mut own = RootCertStore::empty();
        let Some(path) = path else {
            return Ok(Self { pem: None, own });
        };
        let error = |why: String| TrustError {
            path: path.to_owned(),
            why,
        };
        let pem = std::fs::read(path).map_err(|fault| error(format!("cannot be read: {fault}")))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|fault| error(format!("is no PEM: {fault}")))?;
            own.add(certificate)
                .map_err(|fault| error(format!("a certificate cannot be used: {fault}")))?;
        }
        if own.is_empty() {
            return Err(error("holds no certificate (PEM)".to_owned()));
        }
        let pem = Some(pem);
        Ok(Self { pem, own })
    }

    /// For the SDK's own HTTP client.
    pub(super) fn context(&self) -> TlsContext {
        let mut store = TrustStore::default();
        if let Some(pem) = &self.pem {
            store = store.with_pem_certificate(pem.clone());
        }
        let built = TlsContext::builder().with_trust_store(store).build();
        built.unwrap_or_default()
    }

    /// For the client of subscriptions.
    pub(super) fn roots(&self) -> RootCertStore {
        let mut roots = self.own.clone();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, why: &str) {
        let path = std::env::temp_dir().join(format!("swiped-ca-{}.pem", fastrand::u64(..)));
        std::fs::write(&path, text).expect("a file");
        let error = Trust::load(Some(&path)).expect_err("of no use").to_string();
        std::fs::remove_file(&path).expect("its end");
        let (named, said) = (error.contains("aws.ca_file /"), error.contains(why));
        assert!(named && said, "{error}");
    }

    #[test]
    fn a_file_without_a_usable_certificate_is_named_with_what_is_wrong() {
        check("", "holds no certificate");
        check(
            "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n",
            "is no PEM",
        );
        check(
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "cannot be used",
        );
        let missing = Trust::load(Some(Path::new("/nowhere/ca.pem")));
        let error = missing.expect_err("missing").to_string();
        assert!(error.contains("/nowhere/ca.pem: cannot be read"), "{error}");
    }
}
