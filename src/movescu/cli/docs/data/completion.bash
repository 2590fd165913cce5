# Completion of movescu's command line for bash, generated from its option table. To load it, add to ~/.bashrc:
#     eval "$(movescu --completion bash)"

_movescu_names="@NAMES@"

# _movescu_counts WORD: set "pending" to the number of values that an option takes.
_movescu_counts() {
    case $1 in
        @TWO@) pending=2 ;;
        @ONE@) pending=1 ;;
        *) pending=0 ;;
    esac
}

# _movescu_keywords PROGRAM: the keywords of the dictionary, requested from the program once per shell.
_movescu_keywords() {
    [[ -n $_movescu_dictionary ]] || _movescu_dictionary=$("${1/#\~/$HOME}" --completion keywords 2>/dev/null)
    [[ -n $_movescu_dictionary ]] || _movescu_dictionary="@LEVEL_KEYWORDS@"
    local IFS=$' \n'
    compgen -S = -W "$_movescu_dictionary" -- "$current"
}

# _movescu_sites PROGRAM: the names of sites. Not by compgen -W, which would expand code in them.
_movescu_sites() {
    local site
    "${1/#\~/$HOME}" --completion sites 2>/dev/null | while IFS= read -r site; do
        [[ $site != "$current"* ]] || printf '%s\n' "$site"
    done
}

# _movescu_value PROGRAM OPTION:NUMBER: candidates for a value of an option, one per line.
_movescu_value() {
    case $2 in
        @FILES@) compgen -f -- "$current" ;;
        @DIRECTORIES@) compgen -d -- "$current" ;;
        @HOSTS@) compgen -A hostname -- "$current" ;;
        @KEYS@)
            if [[ $current == QueryRetrieveLevel=* ]]; then
                compgen -P QueryRetrieveLevel= -W "@LEVELS@" -- "${current#*=}"
            else
                _movescu_keywords "$1"
            fi
            ;;
        @SITES@) _movescu_sites "$1" ;;
        @CHOICES@
    esac
}

# _movescu_parameter NUMBER: candidates for a parameter, or for an option or command file in its place.
_movescu_parameter() {
    if [[ $current == @* ]]; then
        compgen -P @ -f -- "${current#@}"
    elif [[ $current == [-+]* ]]; then
        compgen -W "$_movescu_names" -- "$current"
    elif (($1 == 0)); then
        compgen -A hostname -- "$current"
    elif (($1 > 1)); then
        compgen -f -- "$current"
    fi
}

# _movescu_wants_file OPTION:NUMBER PARAMETER: succeed if the word to complete is the name of a file or directory.
_movescu_wants_file() {
    if ((pending)); then
        case $1 in @FILES@|@DIRECTORIES@) return 0 ;; esac
        return 1
    fi
    (($2 > 1)) && [[ $current != [-+@]* ]]
}

# bash splits words at "=" and ":". _movescu_words joins them again, up to the cursor, in "words".
_movescu_words() {
    local rest=${COMP_LINE:0:COMP_POINT} number word
    words=()
    for ((number = 0; number <= COMP_CWORD; number++)); do
        word=${COMP_WORDS[number]}
        if [[ $number == 0 || $rest == [[:space:]]* ]]; then
            rest=${rest#"${rest%%[![:space:]]*}"}
            words+=("")
        fi
        ((number < COMP_CWORD)) || word=$rest
        words[${#words[@]} - 1]+=$word
        rest=${rest#"$word"}
    done
}

_movescu() {
    local words current option="" pending=0 number=0 place=0 word optional="" # words that may follow the option
    _movescu_words
    current=${words[${#words[@]} - 1]}
    for word in "${words[@]:1:${#words[@]}-2}"; do
        if ((pending)); then
            ((pending--, number++))
        elif [[ $word == [-+][!0-9]* ]]; then
            option=$word number=1
            _movescu_counts "$word"
            [[ $word != --site ]] || ((place += 2)) # a site has peer and port
            case $word in
                @OPTIONAL@
                *) optional="" ;;
            esac
            continue
        elif [[ " $optional " != *" $word "* ]]; then
            ((place++))
            ((place != 1)) || [[ $word != *:[0-9]* ]] || place=2 # host:port
        fi
        optional=""
    done

    # bash replaces only what follows the last split: the candidates must not repeat the rest.
    local breaks="" mark cut="" candidate
    for mark in = :; do
        [[ $COMP_WORDBREAKS == *$mark* ]] && breaks+=$mark
    done
    [[ -z $breaks ]] || cut=${current%"${current##*[$breaks]}"}
    COMPREPLY=()
    while IFS= read -r candidate; do
        COMPREPLY+=("${candidate#"$cut"}")
    done < <(if ((pending)); then _movescu_value "${words[0]}" "$option:$number"; else
        [[ -z $optional ]] || compgen -W "$optional" -- "$current"
        _movescu_parameter "$place"
    fi)

    # No blank after a keyword, which needs its value; compopt -o filenames lets a directory be continued.
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= && $pending != 0 ]]; then
        compopt -o nospace 2>/dev/null
    elif _movescu_wants_file "$option:$number" "$place"; then
        compopt -o filenames 2>/dev/null
    fi
    return 0
}

complete -F _movescu movescu movescu-py
