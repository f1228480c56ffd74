#compdef rill
# Completion of rill's arguments in zsh.

_rill_paths() {
  (( CURRENT == 2 )) && compadd ffmpeg
  _files
}

_rill() {
  local -a import
  import=(
    '--dry-run[print what would be done, write nothing]'
    '--to[adapt to this FFmpeg]:version:'
    '(- *)'{-h,--help}'[print help]'
  )
  case $CURRENT:$words[2]:$words[3] in
    2:*)
      _arguments '(- *)'{-h,--help}'[print help]' '(- *)'{-V,--version}'[print the version]' \
        '1:command:((config\:"check or show the configuration" hw\:"what this board is and has" import\:"take over processes and settings"))'
      ;;
    3:config:*) _values command 'check[print every fault of the configuration]' 'show[print the configuration in force]' ;;
    4:config:show) _values option '--secrets[print secrets, too]' ;;
    *:hw:*)
      shift words
      (( CURRENT-- ))
      _arguments '(--tree)--record[print a recording of this board]' '(--record)--tree[read a recording]:file:_files'
      ;;
    *:import:ffmpeg) shift 2 words; (( CURRENT -= 2 )); _arguments $import ;;
    *:import:*)
      shift words
      (( CURRENT-- ))
      _arguments $import '--force[replace what is there]' '*:file:_rill_paths'
      ;;
  esac
}
_rill "$@"
