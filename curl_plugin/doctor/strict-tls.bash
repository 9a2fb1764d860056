# bash completion for strict-tls; made from options_table.h by make doctor-docs
_strict_tls() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    case $prev in
    --name) mapfile -t COMPREPLY < <(compgen -W "" -- "$cur") ;;
    --connect-to) mapfile -t COMPREPLY < <(compgen -W "" -- "$cur") ;;
    --starttls) mapfile -t COMPREPLY < <(compgen -W "smtp imap pop3 ldap ftp" -- "$cur") ;;
    --cert) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --key) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --tls) mapfile -t COMPREPLY < <(compgen -W "1.2 1.3" -- "$cur") ;;
    --cafile) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --client-cafile) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --preset) mapfile -t COMPREPLY < <(compgen -W "strict private servicenow" -- "$cur") ;;
    --policy) mapfile -t COMPREPLY < <(compgen -W "" -- "$cur") ;;
    --timeout) mapfile -t COMPREPLY < <(compgen -W "" -- "$cur") ;;
    --hosts) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --parallel) mapfile -t COMPREPLY < <(compgen -W "" -- "$cur") ;;
    --interval) mapfile -t COMPREPLY < <(compgen -W "" -- "$cur") ;;
    --rounds) mapfile -t COMPREPLY < <(compgen -W "" -- "$cur") ;;
    --html) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --color) mapfile -t COMPREPLY < <(compgen -W "auto always never" -- "$cur") ;;
    *)
        local words
        case ${COMP_WORDS[1]:-} in
        check) words="--name --connect-to --starttls --cert --key --tls --cafile --client-cafile --preset --policy --offline --timeout --hosts --parallel --watch --interval --rounds --json --html --quiet --color --help --version" ;;
        file) words="--name --key --cafile --preset --policy --online --json --html --quiet --color --help --version" ;;
        fix) words="--name --connect-to --starttls --key --tls --cafile --preset --policy --timeout --quiet --color --help --version" ;;
        *) words="check file fix help --help --version" ;;
        esac
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
        if [[ ${COMP_WORDS[1]:-} == file && $cur != -* ]]; then
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        fi
        ;;
    esac
}
complete -o filenames -F _strict_tls strict-tls
