//! What runs before and after the app: the answer of `GET /tee/properties/{framework}/{version}`, which is also the form of the
//! file that configures it.

use serde::{Deserialize, Serialize};
use sesame_domain::Framework;

/// The parts of a session that are the operator's, in one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pipeline {
    /// `TDX`.
    pub tee_framework: String,
    /// The version's name, as workers ask for it.
    pub tee_framework_version: String,
    /// What fetches and decrypts input.
    pub pre_compute_properties: Compute,
    /// What sends results away.
    pub post_compute_properties: Compute,
}

/// An enclave of the operator's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compute {
    /// The container's image.
    pub image: String,
    /// What identifies its content.
    pub fingerprint: String,
    /// The command that starts it.
    pub entrypoint: String,
    /// Bytes of memory.
    pub heap_size_in_bytes: u64,
}

/// A file is no pipeline.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// Not the JSON object.
    #[error("the pipeline is not what GET /tee/properties answers: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// For SGX.
    #[error("the pipeline is of the framework `{0}`, and only TDX is served")]
    NotServed(String),
    /// A field that must say something is blank.
    #[error("the pipeline's {0} is blank")]
    Blank(&'static str),
}

impl Pipeline {
    /// Reads the file: JSON as the original's `GET /tee/properties/TDX` answers it.
    ///
    /// # Errors
    /// If it is something else, is not for TDX, or leaves out what a session needs.
    pub fn parse(json: &str) -> Result<Self, PipelineError> {
        let pipeline: Self = serde_json::from_str(json)?;
        if Framework::named(&pipeline.tee_framework) != Some(Framework::Tdx) {
            return Err(PipelineError::NotServed(pipeline.tee_framework));
        }
        let needed = [
            ("teeFrameworkVersion", &pipeline.tee_framework_version),
            ("preComputeProperties.image", &pipeline.pre_compute_properties.image),
            ("preComputeProperties.fingerprint", &pipeline.pre_compute_properties.fingerprint),
            ("postComputeProperties.image", &pipeline.post_compute_properties.image),
            ("postComputeProperties.fingerprint", &pipeline.post_compute_properties.fingerprint),
        ];
        if let Some((field, _)) = needed.iter().find(|(_, value)| value.trim().is_empty()) {
            return Err(PipelineError::Blank(field));
        }
        Ok(Self { tee_framework: Framework::Tdx.as_str().to_owned(), ..pipeline })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer of the original, as its documentation of the wire has it.
    const ANSWER: &str = r#"{"teeFramework":"TDX","teeFrameworkVersion":"v0.1",
 "preComputeProperties":{"image":"pre:1","fingerprint":"aa","entrypoint":"run","heapSizeInBytes":1073741824},
 "postComputeProperties":{"image":"post:1","fingerprint":"bb","entrypoint":"","heapSizeInBytes":1073741824}}"#;

    #[test]
    fn the_answer_of_the_original_is_the_file() {
        let pipeline = Pipeline::parse(ANSWER).unwrap();
        assert_eq!(pipeline.tee_framework_version, "v0.1");
        assert_eq!(pipeline.pre_compute_properties.image, "pre:1");
        assert_eq!(pipeline.post_compute_properties.heap_size_in_bytes, 1 << 30);
        let answer: serde_json::Value = serde_json::from_str(ANSWER).unwrap();
        assert_eq!(serde_json::to_value(&pipeline).unwrap(), answer);
        let lower = ANSWER.replace("TDX", "tdx");
        assert_eq!(Pipeline::parse(&lower).unwrap(), pipeline);
    }

    #[test]
    fn other_files_are_refused_with_a_reason() {
        let refused = |from: &str, to: &str| {
            let text = ANSWER.replacen(from, to, 1);
            assert_ne!(text, ANSWER);
            Pipeline::parse(&text).unwrap_err().to_string()
        };
        assert!(refused("TDX", "SCONE").contains("`SCONE`"));
        assert!(refused("TDX", "").contains("only TDX is served"));
        assert!(refused("v0.1", " ").contains("teeFrameworkVersion is blank"));
        assert!(refused("pre:1", "").contains("preComputeProperties.image is blank"));
        assert!(refused("\"bb\"", "\"\"").contains("postComputeProperties.fingerprint"));
        assert!(refused("\"image\":\"pre:1\",", "").contains("missing field `image`"));
        assert!(refused("1073741824", "-1").contains("invalid value"));
        assert!(refused("{\"tee", "{\"lasImage\":\"x\",\"tee").contains("unknown field"));
        assert!(Pipeline::parse("").is_err());
    }
}
