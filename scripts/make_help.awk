# Prints the targets of the Makefiles with what they do, in the language of LANG: English, or Portuguese from
# messages.po. In awk, because a newcomer reads it before anything is installed.
#
# awk -f scripts/make_help.awk src/fipe_words/pt/LC_MESSAGES/messages.po Makefile

BEGIN {
    FS = ":.*## "
    count = split("LANGUAGE LC_ALL LC_MESSAGES LANG", names, " ")
    for (i = 1; i <= count && asked == ""; i++) asked = ENVIRON[names[i]]
    portuguese = asked ~ /^pt/
}

FILENAME ~ /\.po$/ {
    if (!portuguese) next
    if (/^msgid /) {message = quoted($0); reading = "message"; next}
    if (/^msgstr /) {said[message] = quoted($0); reading = "said"; next}
    if (/^"/ && reading == "message") {message = message quoted($0); next}
    if (/^"/ && reading == "said") {said[message] = said[message] quoted($0); next}
    next
}

/^##@ / {printf "\n%s\n", in_language(substr($0, 5))}

/^[a-zA-Z][a-zA-Z_| -]*:.*## / {
    gsub(/ [a-z]+-/, "|", $1)
    printf "  %-21s", $1
    at = 23
    count = split(in_language($2), words, " ")
    for (i = 1; i <= count; i++) {
        if (at + length(words[i]) > 78) {printf "\n%23s", ""; at = 23}
        printf " %s", words[i]
        at += length(words[i]) + 1
    }
    print ""
}

function in_language(text) {
    return text in said && said[text] != "" ? said[text] : text
}

function quoted(line) {
    sub(/^[a-z]* *"/, "", line)
    sub(/"$/, "", line)
    gsub(/\\"/, "\"", line)
    return line
}
