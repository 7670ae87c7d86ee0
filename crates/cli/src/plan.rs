//! `plan`: what an apply or a deletion of documents would create, change, restart, remove and lose, without doing it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kube::Client;
use simbdp_operator::config::Config;
use simbdp_operator::plan::{self, Document, Plan, Platform};

use crate::args::{Output, Plan as Verb};
use crate::connect;
use crate::error::CliError;
use crate::output::print;

mod show;

/// Namespace of an operator that is installed as documented.
const NAMESPACE: &str = "simbdp-system";

/// Runs the verb: exit code 1 when anything would be refused.
pub async fn run(output: Output, verb: Verb) -> Result<ExitCode, CliError> {
    let texts = read(&verb)?;
    let client = connect::cluster().await?;
    let documents = parse(&texts, client.default_namespace())?;
    let platform = platform(&client, &verb).await?;
    let plan = match verb.delete {
        true => plan::delete(&client, &platform, documents).await?,
        false => plan::apply(&client, &platform, documents).await?,
    };
    if let Some(warning) = platform.other_version() {
        eprintln!("warning: {warning}");
    }
    match output {
        Output::Table => writeln!(std::io::stdout().lock(), "{}", show::text(&plan))?,
        Output::Json | Output::Csv => print(output, &plan, &show::grid(&plan))?,
    }
    Ok(code(&plan))
}

fn code(plan: &Plan) -> ExitCode {
    match plan.summary.refused {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(1),
    }
}

fn read(verb: &Verb) -> Result<Vec<(&Path, String)>, CliError> {
    let files = verb.filename.iter().map(PathBuf::as_path);
    files.map(|path| Ok((path, text(path)?))).collect()
}

fn parse(texts: &[(&Path, String)], namespace: &str) -> Result<Vec<Document>, CliError> {
    let mut documents = Vec::new();
    for (path, text) in texts {
        let parsed = plan::parse(text, namespace).map_err(|error| CliError::Document {
            path: path.to_path_buf(),
            reason: error.to_string(),
        })?;
        documents.extend(parsed);
    }
    Ok(documents)
}

fn text(path: &Path) -> Result<String, CliError> {
    let read = match path.as_os_str() == "-" {
        true => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        false => std::fs::read_to_string(path),
    };
    read.map_err(|source| CliError::File {
        path: path.to_owned(),
        source,
    })
}

/// The operator that runs in the cluster, unless its configuration is given.
async fn platform(client: &Client, verb: &Verb) -> Result<Platform, CliError> {
    let namespace = verb.operator_namespace.as_deref();
    let Some(path) = &verb.operator_config else {
        return Ok(Platform::find(client, namespace).await?);
    };
    let config = Config::read(path).map_err(|error| CliError::Usage(with_causes(&error)))?;
    Ok(Platform::new(namespace.unwrap_or(NAMESPACE), config))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", with_causes(source)),
        None => error.to_string(),
    }
}
