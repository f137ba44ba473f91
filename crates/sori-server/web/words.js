// The dashboard's words: English is the key, Korean the translation.
const KOREAN = {
  "Sori: jobs": "Sori: 작업",
  "Jobs": "작업", "API to read": "API 읽기", "API to try": "API 써 보기",
  "API key": "API 키", "Use this key": "이 키 사용", "Forget the key": "키 지우기",
  "This server asks for a key. It is kept until this tab is closed.": "이 서버는 키가 필요합니다. 키는 이 탭을 닫을 때까지만 보관됩니다.",
  "The key was refused.": "키가 거부되었습니다.",
  "Now": "현재 상태", "Waiting": "대기", "Running": "실행 중", "Oldest waiting": "가장 오래된 대기",
  "Speed": "속도", "Workers ready": "준비된 작업자", "Callbacks waiting": "대기 중인 콜백", "Models": "모델",
  "Failed": "실패", "none yet": "아직 없음", "× real time": "실시간 대비 배속",
  "New job": "새 작업", "Drop recordings here, or": "녹음 파일을 여기에 끌어다 놓거나", "choose files": "파일 선택",
  "Options": "옵션", "Language": "언어", "detect": "자동 감지", "Speakers": "화자 수", "unknown": "모름",
  "Callback URL": "콜백 URL", "Priority": "우선순위", "high": "높음", "normal": "보통", "low": "낮음",
  "At work": "진행 중", "Nothing is at work.": "진행 중인 작업이 없습니다.",
  "Recent jobs": "최근 작업", "Show": "표시", "all": "전체",
  "queued": "대기", "running": "실행 중", "retrying": "재시도 대기", "done": "완료", "partial": "일부 완료", "failed": "실패",
  "cancelled": "취소됨", "uploading": "업로드 중",
  "No jobs.": "작업이 없습니다.", "More": "더 보기",
  "Cancel": "취소", "Retry": "다시 시도", "Replay": "다시 보내기", "Delete": "삭제", "Results": "결과", "Details": "자세히",
  "Delete this job and all that is kept of it?": "이 작업과 보관된 모든 것을 삭제할까요?",
  "Callbacks": "콜백", "No callbacks.": "콜백이 없습니다.", "waiting": "대기", "given_up": "포기함", "disabled": "수신 거부됨",
  "tries": "시도", "Created": "접수", "Length": "길이", "Took": "소요", "Attempts": "시도 횟수", "Model": "모델", "Source": "출처", "Id": "ID",
  "The server does not answer; trying again.": "서버가 응답하지 않습니다. 다시 시도합니다.",
  "stopping": "서버가 종료 중입니다", "Loading": "불러오는 중",
  "media": "미디어", "decode": "디코딩", "vad": "음성 구간", "detect_language": "언어 감지", "transcribe": "전사", "align": "정렬",
  "diarize": "화자 구분", "attribute": "화자 배정", "punctuate": "문장 부호", "write": "쓰기",
};
const korean = navigator.language.toLowerCase().startsWith("ko");

/** The text in the reader's language; English where there is no translation. */
export function word(english) {
  return (korean && Object.hasOwn(KOREAN, english) && KOREAN[english]) || english;
}

/** Translates what the page's own HTML says: elements with `data-word`, whose text is the key. */
export function translate(root) {
  document.documentElement.lang = korean ? "ko" : "en";
  for (const element of root.querySelectorAll("[data-word]")) element.textContent = word(element.textContent.trim());
}
