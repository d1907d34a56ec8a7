//! The lab's certificate authority, and the key pair that signs service accounts' tokens.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Signs certificates and writes them to one folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Where a certificate and its key lie.
#[derive(Debug, Clone)]
pub struct Pair {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM, PKCS #8.
    pub key: PathBuf,
}

impl Authority {
    /// Makes a new one: `ca.crt` and `ca.key` in the folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "detector-lab");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let authority = Self {
            folder: folder.to_owned(),
            issuer,
        };
        fs::write(authority.certificate(), authority.issuer.pem())?;
        fs::write(authority.pair("ca").key, authority.issuer.key().serialize_pem())?;
        Ok(authority)
    }

    /// The authority's own certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.pair("ca").certificate
    }

    /// A certificate that names a user (`user`) of a group (`group`, may be empty) to the API server.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn client(&self, name: &str, user: &str, group: &str) -> Result<Pair> {
        self.issue(name, user, group, &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A certificate of a server that is reached under these names and addresses.
    ///
    /// # Errors
    /// When a name is not one, or a file cannot be written.
    pub fn server(&self, name: &str, names: &[String]) -> Result<Pair> {
        self.issue(name, name, "", names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// The key pair of service accounts: `sa.key`, and as the certificate's place `sa.pub`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn service_accounts(&self) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let pair = Pair {
            certificate: self.folder.join("sa.pub"),
            key: self.folder.join("sa.key"),
        };
        fs::write(&pair.certificate, key.public_key_pem())?;
        fs::write(&pair.key, key.serialize_pem())?;
        Ok(pair)
    }

    fn issue(
        &self,
        name: &str,
        user: &str,
        group: &str,
        names: &[String],
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Pair> {
        let mut params =
            CertificateParams::new(names).with_context(|| format!("names of {name}: {names:?}"))?;
        params.distinguished_name.push(DnType::CommonName, user);
        if !group.is_empty() {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let pair = self.pair(name);
        fs::write(&pair.certificate, certificate.pem())?;
        fs::write(&pair.key, key.serialize_pem())?;
        Ok(pair)
    }

    fn pair(&self, name: &str) -> Pair {
        let file = |extension| self.folder.join(format!("{name}.{extension}"));
        Pair {
            certificate: file("crt"),
            key: file("key"),
        }
    }
}
