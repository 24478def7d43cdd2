#!/bin/sh
# The service on this machine: `install.sh install` puts it there or renews it, `install.sh remove` takes it away.
# Settings and state belong to you: neither is ever overwritten or removed.
set -eu
umask 022
cd "$(dirname "$0")/.."
home=/usr/lib/invoice-printer
units=/etc/systemd/system
settings=/etc/invoice-printer/config.toml
backend=/usr/lib/cups/backend/invoice-printer
driver=/usr/share/ppd/invoice-printer/invoice-printer.ppd
[ "$(id -u)" = 0 ] || { echo "This needs root." >&2; exit 77; }

managed() { [ -d /run/systemd/system ]; }

fetch() { # the program and what it stands on, for this machine's own Python
	tools/packages.sh requirements/service.txt
	python3 -m venv build/install
	pip="build/install/bin/pip --disable-pip-version-check --quiet"
	if [ ! -e printerd/console/static/vendor/ready ]; then
		$pip install --require-hashes -r requirements/build.txt
		build/install/bin/python tools/front.py
		touch printerd/console/static/vendor/ready
	fi
	rm -rf "$home/new"
	mkdir -p "$home"
	$pip install --require-hashes --only-binary :all: --no-warn-script-location --target "$home/new" -r requirements/runtime.txt
	tar --create --exclude=__pycache__ printerd receipt_service ppd | tar --extract --no-same-owner --directory "$home/new"
	python3 -m compileall -q "$home/new/printerd" "$home/new/receipt_service"
}

install_() {
	fetch
	rm -rf "$home/old"
	[ ! -e "$home/lib" ] || mv "$home/lib" "$home/old"
	mv "$home/new" "$home/lib"
	rm -rf "$home/old"
	install -m 755 systemd/invoice-printer /usr/bin/invoice-printer
	install -m 644 systemd/invoice-printer.sysusers /usr/lib/sysusers.d/invoice-printer.conf
	install -m 644 systemd/invoice-printer.tmpfiles /usr/lib/tmpfiles.d/invoice-printer.conf
	# CUPS may come later, and finds both then. Never below /usr/local: AppArmor keeps cupsd from there.
	install -D -m 755 printerd/cups_backend.py $backend
	install -D -m 644 ppd/invoice-printer.ppd $driver
	mkdir -p "$units" "$(dirname $settings)"
	cp --recursive --no-dereference --remove-destination systemd/system/. "$units"
	systemd-sysusers invoice-printer.conf
	systemd-tmpfiles --create invoice-printer.conf
	[ -e $settings ] || /usr/bin/invoice-printer config init --system
	if managed; then
		systemctl daemon-reload
		systemctl try-restart 'invoice-printer*.service'
	fi
	echo "Installed: $(/usr/bin/invoice-printer --version). Settings: $settings. Start: systemctl enable --now invoice-printer"
}

remove() {
	# While the program and its backend are there; what is left of a queue without them could not even refuse a job.
	/usr/bin/invoice-printer queue remove || echo "Queues of CUPS, if there are any, are still there: lpadmin -x NAME" >&2
	ours=$(cd systemd/system && ls --directory invoice-printer*.service invoice-printer*.socket)
	if managed; then
		for unit in $ours; do systemctl disable --quiet --now "$unit" 2>/dev/null || true; done
		systemctl stop 'invoice-printer-ghostscript@*.service'
	fi
	(cd "$units" && rm -rf $ours $(for unit in $ours; do echo "$unit.d/hardening.conf"; done))
	find "$units" -type d -name 'invoice-printer*.d' -empty -delete
	rm -rf "$home" $backend "$(dirname $driver)" /usr/bin/invoice-printer /usr/lib/sysusers.d/invoice-printer.conf /usr/lib/tmpfiles.d/invoice-printer.conf
	if managed; then systemctl daemon-reload; fi
	echo "Removed. Kept: $(dirname $settings), /var/lib/invoice-printer and the user invoice-printer."
}

case ${1-} in
install) install_ ;;
remove) remove ;;
*) echo "usage: $0 install|remove" >&2; exit 64 ;;
esac
