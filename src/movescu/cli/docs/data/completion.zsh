#compdef movescu movescu-py
# Completion of movescu's command line for zsh, generated from its option table. To load it, add to ~/.zshrc, after
# compinit:
#     eval "$(movescu --completion zsh)"
# or save it as _movescu in a directory of $fpath.

# The keywords of the dictionary, requested from the program once per shell.
_movescu_keys() {
    if compset -P 'QueryRetrieveLevel='; then
        local -a levels=(@LEVELS@)
        _describe -t levels level levels
    elif compset -P '*='; then
        _message value
    else
        (( ${#_movescu_dictionary} )) ||
            typeset -ga _movescu_dictionary=(${(f)"$(${~words[1]} --completion keywords 2>/dev/null)"})
        (( ${#_movescu_dictionary} )) || _movescu_dictionary=(@LEVEL_KEYWORDS@)
        local expl
        _wanted keywords expl keyword compadd -S = -a _movescu_dictionary
    fi
}

_movescu_sites() {
    local -a sites=(${(f)"$(${~words[1]} --completion sites 2>/dev/null)"})
    _describe -t sites site sites
}

# A parameter, or in its place a command file, or a query file with a site or an address, which have peer and port.
_movescu_parameter() {
    if compset -P @ || (( ${words[(I)--site]} )) || [[ ${words[1,CURRENT-1]} == *[a-z0-9\]]:[0-9]* ]]; then
        _files
    else
        "$@"
    fi
}

_movescu() {
    _arguments : \
        @SPECS@
}

if [[ $funcstack[1] == _movescu ]]; then
    _movescu "$@"
else
    compdef _movescu movescu movescu-py
fi
