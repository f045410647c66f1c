//! Which streams and tables are meant, and where: from a `swiped` configuration file or from flags.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use crate::local::Names;

/// Where `loadgen local` listens by default.
const LOCAL_KINESIS: &str = "http://127.0.0.1:4567";
const LOCAL_DYNAMODB: &str = "http://127.0.0.1:8000";

/// Where to work.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct TargetArgs {
    /// A `swiped` configuration: region, endpoints and names are taken from it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Endpoint of Kinesis [default: that of the configuration, or http://127.0.0.1:4567]
    #[arg(long, value_name = "URL")]
    pub kinesis_endpoint: Option<String>,
    /// Endpoint of DynamoDB [default: that of the configuration, or http://127.0.0.1:8000]
    #[arg(long, value_name = "URL")]
    pub dynamodb_endpoint: Option<String>,
}

/// The resolved target. An endpoint that is absent means the service itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Region.
    pub region: String,
    /// Endpoint of Kinesis.
    pub kinesis: Option<String>,
    /// Endpoint of DynamoDB.
    pub dynamodb: Option<String>,
    /// Stream of swipes.
    pub swipes: String,
    /// Stream of decisions.
    pub decisions: Option<String>,
    /// Table of decisions.
    pub decision_table: Option<String>,
    /// Dead-letter stream.
    pub rejects: Option<String>,
    /// Table of cards, doors and rules.
    pub access: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    aws: Aws,
    swipes: Place,
    access: Place,
    decisions: Option<Place>,
    rejects: Option<Place>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Aws {
    region: Option<String>,
    endpoint_url: Option<String>,
    endpoints: Endpoints,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Endpoints {
    kinesis: Option<String>,
    dynamodb: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Place {
    stream: Option<String>,
    table: Option<String>,
}

impl TargetArgs {
    /// The target that the flags and the file name.
    ///
    /// # Errors
    /// When the file cannot be read or is no TOML.
    pub fn resolve(&self) -> anyhow::Result<Target> {
        let mut target = match &self.config {
            Some(path) => from_file(path)?,
            None => Target::at(LOCAL_KINESIS, LOCAL_DYNAMODB),
        };
        target.kinesis = self.kinesis_endpoint.clone().or(target.kinesis);
        target.dynamodb = self.dynamodb_endpoint.clone().or(target.dynamodb);
        Ok(target)
    }
}

impl Target {
    /// The names, as those who create streams and tables want them.
    pub fn names(&self, shards: u32) -> Names {
        Names {
            swipes: self.swipes.clone(),
            decisions: self.decisions.clone(),
            rejects: self.rejects.clone(),
            access_table: self.access.clone(),
            decision_table: self.decision_table.clone(),
            shards,
        }
    }

    /// The default names at these endpoints.
    pub fn at(kinesis: &str, dynamodb: &str) -> Self {
        let name = |name: &str| Some(name.to_owned());
        Self {
            region: "eu-west-1".to_owned(),
            kinesis: name(kinesis),
            dynamodb: name(dynamodb),
            swipes: "swipes".to_owned(),
            decisions: name("swipe-decisions"),
            decision_table: name("swipe-decisions"),
            rejects: name("swipe-rejects"),
            access: "access".to_owned(),
        }
    }
}

fn from_file(path: &Path) -> anyhow::Result<Target> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("cannot use {} as a swiped configuration", path.display()))
}

fn parse(text: &str) -> Result<Target, toml::de::Error> {
    let file: File = toml::from_str(text)?;
    let defaults = Target::at("", "");
    // The daemon's file spells "none" as an empty text.
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    let endpoint = |own: Option<String>| said(own).or_else(|| said(file.aws.endpoint_url.clone()));
    // Without the section the default stream is meant; a section that is there says all of it.
    let (decisions, decision_table) = match file.decisions {
        Some(place) => (said(place.stream), said(place.table)),
        None => (defaults.decisions, None),
    };
    Ok(Target {
        region: said(file.aws.region).unwrap_or(defaults.region),
        kinesis: endpoint(file.aws.endpoints.kinesis),
        dynamodb: endpoint(file.aws.endpoints.dynamodb),
        swipes: file.swipes.stream.unwrap_or(defaults.swipes),
        decisions,
        decision_table,
        rejects: file
            .rejects
            .map_or(defaults.rejects, |place| said(place.stream)),
        access: file.access.table.unwrap_or(defaults.access),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_names_endpoints_streams_and_tables_and_the_rest_is_ignored() {
        let target = parse(
            r#"
            [aws]
            region = "us-east-1"
            endpoint_url = "http://127.0.0.1:4566"
            [aws.endpoints]
            kinesis = "http://127.0.0.1:1"
            [swipes]
            stream = "a"
            retrieval = "polling"
            [decisions]
            stream = "b"
            table = ""
            [leases]
            table = "c"
            "#,
        )
        .expect("parses");
        assert_eq!(target.region, "us-east-1");
        assert_eq!(target.kinesis.as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(target.dynamodb.as_deref(), Some("http://127.0.0.1:4566"));
        assert_eq!(
            (target.swipes.as_str(), target.decisions.as_deref()),
            ("a", Some("b"))
        );
        assert_eq!(
            (target.decision_table, target.rejects.as_deref()),
            (None, Some("swipe-rejects"))
        );
        assert_eq!(target.access, "access");
    }

    #[test]
    fn a_configuration_without_endpoints_means_the_service_itself() {
        assert_eq!(parse("").expect("parses").kinesis, None);
    }
}
