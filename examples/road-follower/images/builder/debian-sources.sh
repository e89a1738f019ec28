# debian_sources SUITE: prints the lines of sources.list for a suite of Debian.
#
# From the mirror that this host uses already, else from the official one. Only the suite that is named and only
# Debian's own packages: what else the host's sources offer must not slip into a tree.
debian_sources() {
  key=signed-by=/usr/share/keyrings/debian-archive-keyring.gpg
  found=$(apt-get indextargets --format "deb [$key] \$(REPO_URI) \$(RELEASE) main" \
    'Created-By: Packages' 'Origin: Debian' 'Component: main' 2>/dev/null |
    grep -E " $1(-updates|-security)? main\$" | sort -u) || true
  case $found in
    *" $1 main"*) printf '%s\n' "$found" ;;
    *)
      printf 'deb [%s] http://deb.debian.org/%s main\n' "$key" "debian $1" "$key" "debian $1-updates" \
        "$key" "debian-security $1-security"
      ;;
  esac
}
