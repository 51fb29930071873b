//! The configurations and the weights of a checkpoint's networks.

use safe_files::NamedFiles;
use sd_models::NetworkConfig;
use sd_spec::Role;
use serde_json::Value;

use super::index::Listed;
use super::{Checkpoint, Stored};
use crate::{CheckpointError, Variant, Weights, scaled};

impl Checkpoint {
    /// As much as is known of a configuration: where its file is not there, the class that the index names.
    pub(super) fn known_config(&self, role: Role) -> Option<Value> {
        let json = self.file(&self.config_name(role)).ok().flatten();
        let class = || match self.index.listed(role.spec().folder) {
            Listed::Class(class) => Some(serde_json::json!({ "_class_name": class })),
            _ => None,
        };
        json.and_then(|json| serde_json::from_slice(&json).ok()).or_else(|| class().filter(|_| role == Role::Mmdit))
    }

    /// A component's `config.json`, parsed.
    ///
    /// # Errors
    /// As [`Checkpoint::config`], and [`CheckpointError::Json`] when it is none.
    pub(crate) fn config_json(&self, role: Role) -> Result<Value, CheckpointError> {
        let parsed = serde_json::from_slice(&self.config(role)?);
        parsed.map_err(|source| CheckpointError::Json { path: self.config_place(role), source })
    }

    /// The bytes of a component's `config.json`.
    ///
    /// # Errors
    /// As [`Checkpoint::check`]; when the file is unreadable or absurdly large.
    pub fn config(&self, role: Role) -> Result<Vec<u8>, CheckpointError> {
        self.check(role)?;
        let name = self.config_name(role);
        let json = self.file(&name)?;
        let missing = || {
            let fault = self.single_file().and_then(|file| file.fault(role));
            fault.unwrap_or_else(|| CheckpointError::MissingRole { role, path: self.beside.place(&name) })
        };
        let json = json.ok_or_else(missing)?;
        Ok(self.with_class(role, &json).unwrap_or(json))
    }

    /// transformers 5 writes configurations without their class, which the index has too.
    fn with_class(&self, role: Role, json: &[u8]) -> Option<Vec<u8>> {
        let class = self.index.class_of("transformers", role.spec().folder)?;
        let mut config: serde_json::Map<String, Value> = serde_json::from_slice(json).ok()?;
        if config.contains_key("architectures") || config.contains_key("_class_name") {
            return None;
        }
        config.insert("architectures".to_owned(), vec![class].into());
        serde_json::to_vec(&config).ok()
    }

    /// The configuration of a role's network.
    ///
    /// # Errors
    /// As [`Checkpoint::config`], and [`CheckpointError::Model`] when it is none that is known here.
    pub fn network(&self, role: Role) -> Result<NetworkConfig, CheckpointError> {
        let json = self.config(role)?;
        let path = || self.config_place(role);
        NetworkConfig::read(role, &json).map_err(|source| CheckpointError::Model { path: path(), source })
    }

    /// The configuration of what a file holds of a role, before adapters make another network of it.
    fn stored_network(&self, role: Role) -> Result<NetworkConfig, CheckpointError> {
        match &self.named_by {
            Some((named, network)) if *named == role => Ok(network.clone()),
            _ => self.network(role),
        }
    }

    /// The weights of a role's network, as its adapters leave them.
    ///
    /// # Errors
    /// When no weights are there, a file is damaged, or an adapter does not fit.
    pub fn weights(&self, role: Role) -> Result<Weights, CheckpointError> {
        let mut weights = match &self.stored {
            _ if self.given_vae(role).is_some() => self.vae_weights(role)?,
            Stored::Projection(projection) => projection.weights(),
            Stored::Upscaler(upscaler) => upscaler.weights(),
            Stored::File(file) => file.network(role, &self.stored_network(role)?)?,
            Stored::Folder => scaled::open(&self.folder(role), self.variant.as_deref())?,
        };
        self.adapters.iter().try_for_each(|adapter| adapter.adapt(role, &mut weights))?;
        Ok(weights)
    }

    /// What the checkpoint calls a tensor of a role's network that diffusers calls so.
    ///
    /// # Errors
    /// As [`Checkpoint::network`].
    pub fn stored_key(&self, role: Role, key: &str) -> Result<String, CheckpointError> {
        let own = match &self.stored {
            _ if self.given_vae(role).is_some() => self.vae_key(role, key)?,
            Stored::File(file) => file.key_of(role, &self.stored_network(role)?, key),
            Stored::Upscaler(upscaler) => Some(upscaler.key_of(key)),
            Stored::Folder | Stored::Projection(_) => None,
        };
        Ok(own.unwrap_or_else(|| key.to_owned()))
    }

    /// Which variant of the weights [`Checkpoint::weights`] takes for a component.
    ///
    /// # Errors
    /// As [`Checkpoint::weights`].
    pub fn variant(&self, role: Role) -> Result<Variant, CheckpointError> {
        if let Some(vae) = self.given_vae(role) {
            return vae.variant();
        }
        match &self.stored {
            Stored::Folder => Variant::choose(&self.folder(role), self.variant.as_deref()).map(|(variant, _)| variant),
            Stored::File(_) if self.variant.is_some() => Ok(Variant::PlainInstead),
            Stored::File(_) | Stored::Projection(_) | Stored::Upscaler(_) => Ok(Variant::Plain),
        }
    }
}
