# bash completion of motorpool(1)
_motorpool() {
	local cur=${COMP_WORDS[COMP_CWORD]} one=${COMP_WORDS[1]-} two=${COMP_WORDS[2]-} words=
	if [ "$COMP_CWORD" -eq 1 ]; then
		words=" run request use client release list smi lease server device setting ca store backup restore logs support-bundle netperf limit health stats audit token whoami completion man version"
	else
		case "$one $two" in
		"lease list")words=" --server --bundle --json --no-headers --watch --help" ;;
		"lease show")words=" --server --bundle --json --help" ;;
		"lease kill")words=" --server --bundle --json --help" ;;
		"server list")words=" --server --bundle --json --no-headers --help" ;;
		"server add")words=" --server --lifetime --bundle --json --help" ;;
		"server drain")words=" --server --bundle --json --help" ;;
		"server undrain")words=" --server --bundle --json --help" ;;
		"server remove")words=" --server --bundle --json --help" ;;
		"device list")words=" --server --bundle --json --no-headers --help" ;;
		"device disable")words=" --server --bundle --json --help" ;;
		"device enable")words=" --server --bundle --json --help" ;;
		"setting list")words=" --server --bundle --json --no-headers --help" ;;
		"setting set")words=" --server --bundle --json --help" ;;
		"ca show")words=" --server --bundle --json --help" ;;
		"ca rotate")words=" --server --bundle --json --help" ;;
		"ca csr")words=" --server --bundle --json --help" ;;
		"ca import")words=" --server --bundle --json --help" ;;
		"ca retire")words=" --server --bundle --json --help" ;;
		"store migrate")words=" --server --bundle --json --help" ;;
		"limit list")words=" --server --bundle --json --no-headers --help" ;;
		"limit set")words=" --server --idle --bundle --json --help" ;;
		"limit clear")words=" --server --bundle --json --help" ;;
		"client list")words=" --server --bundle --json --no-headers --help" ;;
		"client disable")words=" --server --bundle --json --help" ;;
		"client enable")words=" --server --bundle --json --help" ;;
		"token list")words=" --server --bundle --json --no-headers --help" ;;
		"token show")words=" --server --bundle --json --help" ;;
		"token create")words=" --server --client --role --lifetime --output --priority --bundle --json --help" ;;
		"token activate")words=" --server --bundle --json --help" ;;
		"token deactivate")words=" --server --bundle --json --help" ;;
		"token extend")words=" --server --lifetime --bundle --json --help" ;;
		"token reissue")words=" --server --output --overlap --bundle --json --help" ;;
		"token revoke")words=" --server --bundle --json --help" ;;
		"run "*) words=" --devices --partition --memory --filter --timeout --server --lost-exit --new --priority --placement --bundle --help" ;;
		"request "*) words=" --devices --partition --memory --filter --timeout --server --name --ttl --linger --print-env --priority --placement --bundle --json --help" ;;
		"use "*) words=" --server --name --bundle --help" ;;
		"client "*) words=" --server --name --bundle --help" ;;
		"release "*) words=" --server --name --bundle --json --help" ;;
		"list "*) words=" --server --bundle --json --no-headers --watch --help" ;;
		"smi "*) words=" --server --bundle --json --watch --help" ;;
		"backup "*) words=" --server --passphrase-file --bundle --json --help" ;;
		"restore "*) words=" --server --passphrase-file --bundle --json --help" ;;
		"logs "*) words=" --server --bundle --json --help" ;;
		"support-bundle "*) words=" --server --output --bundle --json --help" ;;
		"netperf "*) words=" --server --bundle --json --no-headers --help" ;;
		"health "*) words=" --server --bundle --json --no-headers --help" ;;
		"stats "*) words=" --server --by --since --bundle --json --no-headers --watch --help" ;;
		"audit "*) words=" --server --since --bundle --json --no-headers --help" ;;
		"whoami "*) words=" --server --bundle --json --help" ;;
		"completion "*) words=" --help" ;;
		"man "*) words=" --help" ;;
		"version "*) words=" --server --bundle --json --help" ;;
		esac
		if [ "$COMP_CWORD" -eq 2 ]; then
			case "$one" in
			lease) words="$words list show kill" ;;
			server) words="$words list add drain undrain remove" ;;
			device) words="$words list disable enable" ;;
			setting) words="$words list set" ;;
			ca) words="$words show rotate csr import retire" ;;
			store) words="$words migrate" ;;
			limit) words="$words list set clear" ;;
			client) words="$words list disable enable" ;;
			token) words="$words list show create activate deactivate extend reissue revoke" ;;
			esac
		fi
	fi
	# shellcheck disable=SC2207
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _motorpool motorpool
