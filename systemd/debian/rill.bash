# shellcheck shell=bash
# Completion of rill's arguments in bash.

_rill() {
  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=
  case $COMP_CWORD:${COMP_WORDS[1]}:${COMP_WORDS[2]-} in
    1:*) words="config hw import --help --version" ;;
    2:config:*) words="check show --help" ;;
    3:config:show) words=--secrets ;;
    2:hw:*) words="--record --tree --help" ;;
    *:import:ffmpeg) words="--dry-run --to --help" ;;
    *:import:*) words="--dry-run --force --to --help" ;;
  esac
  COMPREPLY=()
  # A version is not ours to guess.
  [ "$before" != --to ] || return 0
  if [[ ${COMP_WORDS[1]} == hw && $before == --tree ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    return
  fi
  if [[ ${COMP_WORDS[1]} == import && $COMP_CWORD -gt 1 && $current != -* && ${COMP_WORDS[2]} != ffmpeg ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    [ "$COMP_CWORD" -gt 2 ] || words+=" ffmpeg"
  fi
  mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _rill rill
