//! What callbacks say: the body of seed 000 and the form of Standard Webhooks.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// How a job ended, in a callback.
#[derive(Clone, Copy, Debug)]
pub enum JobOutcome<'a> {
    /// All stages are done.
    Done,
    /// The result is there, but a stage failed, as this says.
    Partial(&'a str),
    /// There is no result, as this says.
    Failed(&'a str),
    /// Somebody cancelled it.
    Cancelled,
}

/// What a callback tells.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// A stage by its name (`fetch`, `decode`, or one of the engine's) and 0 to 100 %.
    Progress {
        /// The stage.
        stage: &'a str,
        /// How much of the whole job is done.
        percent: u8,
    },
    /// The job ended. The result is the document, or an object with `result_url` and `sha256` if it is long.
    Ended {
        /// How.
        outcome: JobOutcome<'a>,
        /// How far it came, 0 to 100; a job with a result is at 100 whatever this says.
        percent: u8,
        /// The result, if there is one.
        result: Option<&'a Value>,
    },
}

#[derive(Serialize)]
struct Body<'a> {
    job_id: &'a str,
    status: &'static str,
    progress: u8,
    message: String,
    result: Option<&'a Value>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    r#type: &'static str,
    timestamp: String,
    data: Body<'a>,
}

/// Returns the body that seed 000 sends: exactly `job_id`, `status` (`processing`, `completed`, `failed`), `progress`,
/// `message` in Korean and `result`, in this order.
pub fn seed_body(job_id: &str, news: &News<'_>) -> Vec<u8> {
    encode(&body(job_id, news))
}

/// Returns the same inside the form of Standard Webhooks 1.0.0: `type` (`job.progress`, `job.completed`, `job.failed`,
/// `job.cancelled`), `timestamp` (RFC 3339, when it happened) and `data`.
pub fn standard_body(job_id: &str, news: &News<'_>, at_ms: i64) -> Vec<u8> {
    let timestamp = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    encode(&Envelope {
        r#type: news.kind(),
        timestamp: timestamp.to_string(),
        data: body(job_id, news),
    })
}

impl News<'_> {
    /// The type of event: `job.progress`, `job.completed`, `job.failed` or `job.cancelled`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Progress { .. } => "job.progress",
            Self::Ended { outcome, .. } => match outcome {
                JobOutcome::Done | JobOutcome::Partial(_) => "job.completed",
                JobOutcome::Failed(_) => "job.failed",
                JobOutcome::Cancelled => "job.cancelled",
            },
        }
    }
}

fn body<'a>(job_id: &'a str, news: &News<'a>) -> Body<'a> {
    let (status, progress, message, result) = match *news {
        News::Progress { stage, percent } => (
            "processing",
            percent.min(100),
            stage_message(stage).to_owned(),
            None,
        ),
        News::Ended {
            outcome,
            percent,
            result,
        } => {
            let (status, percent, message) = match outcome {
                JobOutcome::Done => ("completed", 100, "분석 완료".to_owned()),
                JobOutcome::Partial(reason) => (
                    "completed",
                    100,
                    format!("분석 완료 (일부 단계 실패: {reason})"),
                ),
                JobOutcome::Failed(reason) => {
                    ("failed", percent.min(100), format!("분석 실패: {reason}"))
                }
                JobOutcome::Cancelled => ("failed", percent.min(100), "분석 취소됨".to_owned()),
            };
            (status, percent, message, result)
        }
    };
    Body {
        job_id,
        status,
        progress,
        message,
        result,
    }
}

/// The message for a stage, in the words of seed 000 where it has them.
pub fn stage_message(stage: &str) -> &'static str {
    match stage {
        "queued" | "retrying" => "대기 중...",
        "fetch" => "파일 다운로드 중...",
        "load" => "모델 준비 중...",
        "decode" => "오디오 추출 중...",
        "vad" => "음성 구간 검출 중...",
        "transcribe" => "음성 인식 진행 중...",
        "align" => "단어 시간 정렬 중...",
        "acoustics" => "음향 특성 분석 중...",
        "diarize" | "speakers" => "화자 분리 진행 중...",
        "document" | "write" => "결과 생성 중...",
        _ => "분석 진행 중...",
    }
}

fn encode(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("texts, numbers and JSON values are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: Vec<u8>) -> String {
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn the_bodies_of_seed_000_are_met_to_the_byte() {
        let result = serde_json::json!({"text": "안녕하세요"});
        let ended = |outcome, result| News::Ended {
            outcome,
            percent: 40,
            result,
        };
        let cases = [
            (
                News::Progress {
                    stage: "diarize",
                    percent: 65,
                },
                r#"{"job_id":"task-123","status":"processing","progress":65,"message":"화자 분리 진행 중...","result":null}"#,
            ),
            (
                News::Progress {
                    stage: "transcribe",
                    percent: 250,
                },
                r#"{"job_id":"task-123","status":"processing","progress":100,"message":"음성 인식 진행 중...","result":null}"#,
            ),
            (
                ended(JobOutcome::Done, Some(&result)),
                r#"{"job_id":"task-123","status":"completed","progress":100,"message":"분석 완료","result":{"text":"안녕하세요"}}"#,
            ),
            (
                ended(JobOutcome::Partial("speakers"), None),
                r#"{"job_id":"task-123","status":"completed","progress":100,"message":"분석 완료 (일부 단계 실패: speakers)","result":null}"#,
            ),
            (
                ended(JobOutcome::Failed("no sound in it"), None),
                r#"{"job_id":"task-123","status":"failed","progress":40,"message":"분석 실패: no sound in it","result":null}"#,
            ),
            (
                ended(JobOutcome::Cancelled, None),
                r#"{"job_id":"task-123","status":"failed","progress":40,"message":"분석 취소됨","result":null}"#,
            ),
        ];
        for (news, expected) in cases {
            assert_eq!(text(seed_body("task-123", &news)), expected);
        }
    }

    #[test]
    fn the_standard_form_has_type_time_and_data() {
        let news = News::Ended {
            outcome: JobOutcome::Failed("x"),
            percent: 3,
            result: None,
        };
        assert_eq!(
            text(standard_body("a", &news, 1_700_000_000_123)),
            r#"{"type":"job.failed","timestamp":"2023-11-14T22:13:20.123Z","data":{"job_id":"a","status":"failed","progress":3,"message":"분석 실패: x","result":null}}"#
        );
        let far: Value = serde_json::from_slice(&standard_body("a", &news, i64::MAX)).unwrap();
        assert_eq!(far["timestamp"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn every_stage_of_the_engine_has_words() {
        use sori_engine::Stage;
        for stage in [
            Stage::Vad,
            Stage::Transcribe,
            Stage::Align,
            Stage::Acoustics,
            Stage::Diarize,
            Stage::Speakers,
        ] {
            assert_ne!(stage_message(stage.name()), stage_message("?"), "{stage:?}");
        }
    }
}
