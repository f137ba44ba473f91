# A worker that needs no models: it speaks the protocol and answers with $1/document.json. A recording that begins with
# "slow" is waited for until its job is cancelled, one that begins with "broken" cannot be read.
echo '{"report":"ready","models":{"transcribe":"fake"}}'
job=
while IFS= read -r line; do
    case $line in
    '{"order":"cancel"'*)
        if [ -n "$job" ]; then
            echo '{"report":"cancelled","job":"'"$job"'"}'
            job=
        fi
        continue
        ;;
    esac
    rest=${line#*'"job":"'}
    job=${rest%%'"'*}
    rest=${line#*'"media":"'}
    media=${rest%%'"'*}
    rest=${line#*'"folder":"'}
    folder=${rest%%'"'*}
    printf '%s\n' "$line" >>"$1/orders"
    case $(head -c 6 "$media") in
    slow*) continue ;;
    broken) echo '{"report":"failed","job":"'"$job"'","kind":"input","message":"there is no sound in it"}' ;;
    *)
        echo '{"report":"segment","job":"'"$job"'","id":0,"start":0.0,"end":1.0,"text":"Hello, world."}'
        echo '{"report":"progress","job":"'"$job"'","stage":"transcribe","done_seconds":1.0,"duration":2.5,"percent":40}'
        echo '{"report":"segment","job":"'"$job"'","id":1,"start":1.2,"end":1.5,"text":"Bye."}'
        cp "$1/document.json" "$folder/document.json"
        echo '<!DOCTYPE html>' >"$folder/page.html"
        echo '{"report":"done","job":"'"$job"'","partial":false,"duration":2.5,"stages":[],"warnings":[]}'
        ;;
    esac
    job=
done
