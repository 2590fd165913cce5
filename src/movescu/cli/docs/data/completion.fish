# Completion of movescu's command line for fish, generated from its option table. To load it, add to
# ~/.config/fish/config.fish:
#     movescu --completion fish | source
# or save it as ~/.config/fish/completions/movescu.fish.

# Print the number of values that an option takes.
function __movescu_count
    switch $argv[1]
        case @TWO@
            echo 2
        case @ONE@
            echo 1
        case '*'
            echo 0
    end
end

# The keywords of the dictionary, requested from the program once per shell.
function __movescu_keywords
    set -q __movescu_dictionary[1]
    or set -g __movescu_dictionary ($argv[1] --completion keywords 2>/dev/null)
    set -q __movescu_dictionary[1]
    or set -g __movescu_dictionary @LEVEL_KEYWORDS@
    printf '%s=\n' $__movescu_dictionary
end

# __movescu_value PROGRAM OPTION NUMBER: candidates for a value of an option.
function __movescu_value
    set -l current (commandline -ct)
    switch $argv[2]:$argv[3]
        case @FILES@
            __fish_complete_path $current
        case @DIRECTORIES@
            __fish_complete_directories $current
        case @HOSTS@
            __fish_print_hostnames
        case @KEYS@
            if string match -q 'QueryRetrieveLevel=*' -- $current
                printf 'QueryRetrieveLevel=%s\n' @LEVELS@
            else
                __movescu_keywords $argv[1]
            end
        case @SITES@
            $argv[1] --completion sites 2>/dev/null
        @CHOICES@
    end
end

# Print the words that may follow an option that takes no value.
function __movescu_optional
    switch $argv[1]
        @OPTIONAL@
    end
end

# __movescu_parameter NUMBER: candidates for a parameter, or for an option or command file in its place.
function __movescu_parameter
    set -l current (commandline -ct)
    if string match -q '@*' -- $current
        printf '@%s\n' (__fish_complete_path (string sub -s 2 -- $current))
    else if string match -qr '^[-+]' -- $current
        @NAMES@
    else if test $argv[1] -eq 0
        __fish_print_hostnames
    else if test $argv[1] -gt 1
        __fish_complete_path $current
    end
end

function __movescu_complete
    set -l tokens (commandline -opc)
    set -l program $tokens[1]
    set -e tokens[1]
    set -l option
    set -l pending 0
    set -l number 0
    set -l place 0
    set -l optional
    for token in $tokens
        if test $pending -gt 0
            set pending (math $pending - 1)
            set number (math $number + 1)
        else if string match -qr '^[-+][^0-9]' -- $token
            set option $token
            set number 1
            set optional (__movescu_optional $token)
            set pending (__movescu_count $token)
            # A site has peer and port.
            test $token != --site; or set place (math $place + 2)
            continue
        else if contains -- $token $optional
            # The word is the option's.
        else if test $place -eq 0; and string match -qr ':[0-9]+$' -- $token
            set place 2 # host:port
        else
            set place (math $place + 1)
        end
        set optional
    end
    if test $pending -gt 0
        __movescu_value $program $option $number
    else
        set -q optional[1]; and printf '%s\n' $optional
        __movescu_parameter $place
    end
end

for program in movescu movescu-py
    complete -c $program -e
    complete -c $program -f -a '(__movescu_complete)'
end
