//! The dialects over a real socket: OpenAI's, Deepgram's, tus and seed 000. The worker is a script, so that nothing is computed.

mod place;

use std::io::{Read, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use place::{BOUNDARY, Place, TEXT, form};

#[test]
fn openai_answers_in_every_format() {
    let place = Place::new();
    for path in ["/v1/audio/transcriptions", "/audio/transcriptions"] {
        let answer = place.post_form(path, "RIFF", &[("model", "whisper-1")]);
        assert_eq!(
            (answer.status, answer.json()["text"].as_str()),
            (200, Some(TEXT)),
            "{}",
            answer.text()
        );
    }
    let path = "/v1/audio/transcriptions";
    let fields = [
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "word"),
    ];
    let verbose = place.post_form(path, "RIFF", &fields).json();
    assert_eq!(
        (&verbose["language"], &verbose["words"][0]["word"]),
        (&json!("english"), &json!("Hello"))
    );
    let diarized = place
        .post_form(path, "RIFF", &[("response_format", "diarized_json")])
        .json();
    assert_eq!(diarized["text"], "A: Hello, world.\nB: Bye.");
    for (format, begin) in [
        ("text", "Hello, world."),
        ("srt", "1\n00:00:00,000 -->"),
        ("vtt", "WEBVTT\n"),
    ] {
        let answer = place.post_form(path, "RIFF", &[("response_format", format)]);
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert!(
            answer.text().starts_with(begin),
            "{format}: {}",
            answer.text()
        );
    }
    let translated = place.post_form("/v1/audio/translations", "RIFF", &[("hotwords", "Sori")]);
    assert_eq!(translated.json(), json!({"text": TEXT}));
    let orders = place.orders();
    let options = |index: usize| &orders[index]["options"];
    assert_eq!(
        (&options(0)["diarize"], &options(0)["features"]),
        (&json!(false), &json!([]))
    );
    assert_eq!(options(3)["diarize"], true);
    let last = options(orders.len() - 1);
    assert_eq!(
        (&last["task"], &last["hotwords"]),
        (&json!("translate"), &json!("Sori"))
    );
}

#[test]
fn openai_brings_known_speakers_to_the_worker() {
    let place = Place::new();
    let sample = |bytes: &[u8]| format!("data:audio/wav;base64,{}", STANDARD.encode(bytes));
    let (mina, jun) = (sample(b"one voice"), sample(b"another"));
    let fields = [
        ("response_format", "diarized_json"),
        ("known_speaker_names[]", "김민아"),
        ("known_speaker_names[]", "Jun"),
        ("known_speaker_references[]", &mina),
        ("known_speaker_references[]", &jun),
    ];
    let path = "/v1/audio/transcriptions";
    let answer = place.post_form(path, "RIFF", &fields);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let order = &place.orders()[0];
    assert_eq!(order["options"]["diarize"], true);
    let references = order["references"].as_array().expect("a list");
    let found = references.iter().map(|one| {
        let media = one["media"].as_str().expect("a path");
        let bytes = std::fs::read(media).expect("it is kept with the recording");
        (one["name"].as_str().expect("a name"), bytes)
    });
    let found: Vec<_> = found.collect();
    assert_eq!(
        found,
        [
            ("김민아", b"one voice".to_vec()),
            ("Jun", b"another".to_vec())
        ]
    );
    // They go with the job.
    let id = order["job"].as_str().expect("an id");
    let gone = place.ask(
        "DELETE",
        &format!("/v1/jobs/{id}?purge=true"),
        &[],
        Vec::new(),
    );
    assert_eq!(gone.json()["left"], 0);
    for one in references {
        assert!(!std::path::Path::new(one["media"].as_str().expect("a path")).exists());
    }
}

#[test]
fn openai_streams_what_is_heard() {
    let place = Place::new();
    for (format, last) in [
        ("json", "transcript.text.done"),
        ("diarized_json", "transcript.text.done"),
    ] {
        let fields = [("stream", "true"), ("response_format", format)];
        let answer = place.post_form("/v1/audio/transcriptions", "RIFF", &fields);
        assert_eq!(answer.header("content-type"), "text/event-stream");
        let events: Vec<Value> = answer
            .text()
            .split_terminator("\n\n")
            .map(|event| {
                serde_json::from_str(event.strip_prefix("data: ").expect(event)).expect(event)
            })
            .collect();
        let deltas = events
            .iter()
            .filter(|event| event["type"] == "transcript.text.delta");
        let text: String = deltas
            .map(|event| event["delta"].as_str().expect("text"))
            .collect();
        assert_eq!(text, TEXT);
        let done = &events[events.len() - 1];
        assert_eq!((&done["type"], &done["text"]), (&json!(last), &json!(TEXT)));
        let speakers: Vec<_> = events
            .iter()
            .filter_map(|event| event["speaker"].as_str())
            .collect();
        assert_eq!(
            speakers,
            if format == "json" {
                vec![]
            } else {
                vec!["A", "B"]
            }
        );
    }
    let failed = place.post_form("/v1/audio/transcriptions", "broken", &[("stream", "true")]);
    let event = failed.text().strip_prefix("data: ").expect("an event");
    let event: Value = serde_json::from_str(event.trim_end()).expect("JSON");
    assert_eq!(event["error"]["message"], "there is no sound in it");
}

#[test]
fn openai_refuses_by_name() {
    let place = Place::new();
    let path = "/v1/audio/transcriptions";
    for (file, fields, param) in [
        ("RIFF", &[("response_format", "xml")][..], "response_format"),
        ("RIFF", &[("temperature", "9")], "temperature"),
        ("", &[("model", "whisper-1")], "file"),
        ("broken", &[], "file"),
    ] {
        let answer = place.post_form(path, file, fields);
        let error = answer.json()["error"].take();
        assert_eq!(
            (answer.status, &error["param"]),
            (400, &json!(param)),
            "{error}"
        );
        assert_eq!(error["type"], "invalid_request_error");
    }
    assert_eq!(place.post_json(path, &json!({})).status, 400);
    let models = place.get("/v1/models").json();
    assert_eq!(
        models["data"],
        json!([{"id": "whisper-base", "object": "model", "created": 0, "owned_by": "sori"}])
    );
    assert_eq!(
        place.get("/models/whisper-base").json()["id"],
        "whisper-base"
    );
    assert_eq!(place.get("/v1/models/whisper-9").status, 404);
}

#[test]
fn who_hangs_up_cancels_the_job() {
    let place = Place::new();
    for path in ["/v1/audio/transcriptions", "/v1/listen"] {
        let mut connection = place.connect();
        let kind = match path {
            "/v1/listen" => "audio/wav".to_owned(),
            _ => format!("multipart/form-data; boundary={BOUNDARY}"),
        };
        let body = match path {
            "/v1/listen" => b"slow".to_vec(),
            _ => form("slow", &[]),
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection
            .write_all(head.as_bytes())
            .expect("the server reads");
        connection.write_all(&body).expect("the server reads");
        let page = place.until("/v1/jobs", |page| page["jobs"][0]["state"] == "running");
        drop(connection);
        let job = page["jobs"][0]["id"].as_str().expect("an id");
        place.until(&format!("/v1/jobs/{job}"), |job| {
            job["state"] == "cancelled"
        });
    }
}

#[test]
fn deepgram_answers_in_its_shape() {
    let place = Place::new();
    let path = "/v1/listen?model=nova-3&diarize=true&punctuate=true&utterances=true&tag=x";
    let answer = place.ask(
        "POST",
        path,
        &[("content-type", "audio/wav")],
        b"RIFF".to_vec(),
    );
    let body = answer.json();
    let best = &body["results"]["channels"][0]["alternatives"][0];
    assert_eq!(
        (answer.status, best["transcript"].as_str()),
        (200, Some(TEXT)),
        "{body}"
    );
    assert_eq!(
        (
            &best["words"][2]["speaker"],
            &best["words"][2]["punctuated_word"]
        ),
        (&json!(1), &json!("Bye."))
    );
    assert_eq!(
        body["results"]["utterances"].as_array().map(Vec::len),
        Some(2)
    );
    let metadata = &body["metadata"];
    assert_eq!(
        metadata["sha256"],
        "a40ff3d5900fb7698b8c865041347cb49eccedc8f93945f89629ad104aaecce4"
    );
    assert_eq!(metadata["tags"], json!(["x"]));
    let job = place.get(&format!(
        "/v1/jobs/{}",
        metadata["request_id"].as_str().expect("an id")
    ));
    assert_eq!(job.json()["state"], "done");
    for (path, body, status, code) in [
        ("/v1/listen?diarize=maybe", "RIFF", 400, "Bad Request"),
        ("/v1/listen?redact=pci", "RIFF", 400, "Bad Request"),
        ("/v1/listen", "", 400, "Bad Request"),
        ("/v1/listen", "broken", 400, "Bad Request"),
        (
            "/v1/listen?callback=http%3A%2F%2F169.254.169.254%2Fx",
            "RIFF",
            403,
            "INSUFFICIENT_PERMISSIONS",
        ),
    ] {
        let answer = place.ask("POST", path, &[("content-type", "audio/wav")], body.into());
        let error = answer.json();
        assert_eq!(
            (answer.status, &error["err_code"]),
            (status, &json!(code)),
            "{error}"
        );
        assert!(error["request_id"].is_string() && error["err_msg"].is_string());
    }
    for url in [
        "file:///etc/passwd",
        "/etc/passwd",
        "http://127.0.0.1:1/a.wav",
    ] {
        let answer = place.post_json("/v1/listen", &json!({ "url": url }));
        assert!(
            [400, 403].contains(&answer.status),
            "{url}: {}",
            answer.text()
        );
    }
}

const TUS: (&str, &str) = ("tus-resumable", "1.0.0");
const BYTES: (&str, &str) = ("content-type", "application/offset+octet-stream");

#[test]
fn tus_uploads_in_pieces() {
    let place = Place::new();
    let options = place.ask("OPTIONS", "/v1/uploads", &[], Vec::new());
    assert_eq!(
        (options.status, options.header("tus-version")),
        (204, "1.0.0")
    );
    assert_eq!(
        options.header("tus-extension"),
        "creation,expiration,checksum,termination"
    );
    assert_eq!(options.header("tus-checksum-algorithm"), "sha1,sha256");
    let name = format!("filename {}", STANDARD.encode("talk.wav"));
    let begun = place.ask(
        "POST",
        "/v1/uploads",
        &[TUS, ("upload-length", "11"), ("upload-metadata", &name)],
        Vec::new(),
    );
    assert_eq!(
        (begun.status, begun.header("tus-resumable")),
        (201, "1.0.0"),
        "{}",
        begun.text()
    );
    assert!(begun.header("upload-expires").ends_with(" GMT"));
    let upload = begun.header("location").to_owned();

    let patch =
        |headers: &[(&str, &str)], body: &str| place.ask("PATCH", &upload, headers, body.into());
    let sha1 = |digest: &str| format!("sha1 {digest}");
    let wrong = sha1("0JQeaNqPOBUf+Gph/Fn3xc+fyqI=");
    for (headers, status) in [
        (&[BYTES, ("upload-offset", "0")][..], 412),
        (
            &[("tus-resumable", "0.2.2"), BYTES, ("upload-offset", "0")],
            412,
        ),
        (
            &[TUS, ("content-type", "text/plain"), ("upload-offset", "0")],
            415,
        ),
        (&[TUS, BYTES], 400),
        (&[TUS, BYTES, ("upload-offset", "3")], 409),
        (
            &[
                TUS,
                BYTES,
                ("upload-offset", "0"),
                ("upload-checksum", "crc32 AAAA"),
            ],
            400,
        ),
        (
            &[
                TUS,
                BYTES,
                ("upload-offset", "0"),
                ("upload-checksum", &wrong),
            ],
            460,
        ),
    ] {
        let answer = patch(headers, "hello ");
        assert_eq!(answer.status, status, "{headers:?} {}", answer.text());
    }
    assert_eq!(
        patch(&[TUS, BYTES, ("upload-offset", "0")], "hello world!").status,
        413
    );
    let some = patch(&[TUS, BYTES, ("upload-offset", "0")], "hello ");
    assert_eq!((some.status, some.header("upload-offset")), (204, "6"));
    let head = place.ask("HEAD", &upload, &[TUS], Vec::new());
    assert_eq!(
        (head.header("upload-offset"), head.header("upload-length")),
        ("6", "11")
    );
    assert_eq!(
        (head.header("cache-control"), head.header("upload-metadata")),
        ("no-store", name.as_str())
    );
    let id = upload.rsplit('/').next().expect("an id");
    let early = place.post_json("/v1/jobs", &json!({ "upload": id }));
    assert_eq!(early.status, 409, "{}", early.text());
    let world = sha1("fCEUM/AgcVl3Qeb/Wo6jR4mrv0M=");
    let override_ = ("x-http-method-override", "PATCH");
    let all = place.ask(
        "POST",
        &upload,
        &[
            override_,
            TUS,
            BYTES,
            ("upload-offset", "6"),
            ("upload-checksum", &world),
        ],
        b"world".to_vec(),
    );
    assert_eq!(
        (all.status, all.header("upload-offset")),
        (204, "11"),
        "{}",
        all.text()
    );

    let job = place.post_json("/v1/jobs", &json!({"upload": id, "job_id": "from-tus"}));
    assert_eq!(
        (job.status, job.json()["name"].as_str()),
        (202, Some("talk.wav")),
        "{}",
        job.text()
    );
    place.until("/v1/jobs/from-tus", |job| job["state"] == "done");
    assert_eq!(place.ask("HEAD", &upload, &[TUS], Vec::new()).status, 404);
}

#[test]
fn tus_keeps_what_came_before_a_break() {
    let place = Place::new();
    let begun = place.ask(
        "POST",
        "/v1/uploads",
        &[TUS, ("upload-length", "1000")],
        Vec::new(),
    );
    let upload = begun.header("location").to_owned();
    let mut connection = place.connect();
    let head = format!(
        "PATCH {upload} HTTP/1.1\r\nhost: localhost\r\ntus-resumable: 1.0.0\r\nupload-offset: 0\r\ncontent-type: {}\r\ncontent-length: 1000\r\n\r\n",
        BYTES.1
    );
    connection
        .write_all(head.as_bytes())
        .expect("the server reads");
    connection.write_all(&[7; 300]).expect("the server reads");
    connection
        .shutdown(std::net::Shutdown::Write)
        .expect("it is open");
    let mut rest = Vec::new();
    // The server may answer or close.
    let _ = connection.read_to_end(&mut rest);
    drop(connection);
    let offset = || {
        place
            .ask("HEAD", &upload, &[TUS], Vec::new())
            .header("upload-offset")
            .to_owned()
    };
    for _ in 0..200 {
        if offset() == "300" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(offset(), "300");
    let rest = place.ask(
        "PATCH",
        &upload,
        &[TUS, BYTES, ("upload-offset", "300")],
        vec![7; 700],
    );
    assert_eq!(
        (rest.status, rest.header("upload-offset")),
        (204, "1000"),
        "{}",
        rest.text()
    );
    assert_eq!(place.ask("DELETE", &upload, &[TUS], Vec::new()).status, 204);
    assert_eq!(place.ask("HEAD", &upload, &[TUS], Vec::new()).status, 404);
}

#[test]
fn seed_000_is_answered_as_it_was() {
    let place = Place::new();
    let talk = place.folder.path().join("media/talk.wav");
    let answer = place.post_json(
        "/transcribe",
        &json!({"video_path": talk, "language": "en", "other": 1}),
    );
    let body = answer.json();
    assert_eq!(
        (
            answer.status,
            body["segments"][0]["speaker"]["speaker_id"].as_str()
        ),
        (200, Some("SPEAKER_00")),
        "{body}"
    );
    assert_eq!(place.orders()[0]["options"]["language"], "en");
    let request = json!({"video_path": "s3://ignored/x.mp4", "audio_path": talk, "language": "auto", "job_id": "task-123"});
    let path = "/api/upload-video/process-video";
    let accepted = place.post_json(path, &request);
    assert_eq!(
        (accepted.status, &accepted.json()["job_id"]),
        (200, &json!("task-123")),
        "{}",
        accepted.text()
    );
    let done = place.until("/jobs/task-123", |job| job["status"] != "processing");
    assert_eq!(
        (&done["status"], &done["progress"], &done["message"]),
        (&json!("completed"), &json!(100), &json!("분석 완료"))
    );
    assert_eq!(done["result"]["text"], TEXT);
    assert!(place.get("/jobs/task-123").text().starts_with(r#"{"job_id":"task-123","status":"completed","progress":100,"message":"분석 완료","result":{"#));
    let again = place.post_json(path, &request);
    assert_eq!(
        (again.status, &again.json()["status"]),
        (200, &json!("completed"))
    );
    let other = json!({"audio_path": talk, "language": "ko", "job_id": "task-123"});
    assert_eq!(place.post_json(path, &other).status, 409);
    let form = place.post_form(
        "/transcribe",
        "RIFF",
        &[("language", "ko"), ("max_speakers", "3")],
    );
    assert_eq!(
        (form.status, form.json()["text"].as_str()),
        (200, Some(TEXT)),
        "{}",
        form.text()
    );
    let failed = place.post_form(path, "broken", &[("job_id", "task-4")]);
    assert_eq!(failed.status, 200);
    let failed = place.until("/jobs/task-4", |job| job["status"] != "processing");
    assert_eq!(
        (&failed["status"], &failed["message"]),
        (
            &json!("failed"),
            &json!("분석 실패: there is no sound in it")
        )
    );
    for (body, status) in [
        (json!({}), 400),
        (json!({"video_path": 3}), 400),
        (json!({"video_path": "/etc/passwd"}), 403),
        (json!({"video_path": "http://127.0.0.1/a.mp4"}), 403),
    ] {
        let answer = place.post_json("/transcribe", &body);
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    assert_eq!(place.get("/jobs/none").status, 404);
}

/// The official clients, with the Python of `SORI_PYTHON` that has openai, deepgram-sdk, tuspy and requests.
#[test]
fn official_clients_are_content() {
    let Ok(python) = std::env::var("SORI_PYTHON") else {
        eprintln!(
            "SKIPPED: set SORI_PYTHON to a Python with openai, deepgram-sdk, tuspy and requests"
        );
        return;
    };
    let place = Place::new();
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/../sori/tests/clients");
    for client in ["openai_client", "deepgram_client", "tus_client"] {
        let run = std::process::Command::new(&python)
            .arg(format!("{scripts}/{client}.py"))
            .arg(&place.url)
            .arg(place.folder.path().join("media/talk.wav"))
            .output()
            .expect("SORI_PYTHON is a program");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{client}: {said}");
    }
}
