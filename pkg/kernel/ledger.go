package kernel

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/durable"
)

// ledger is the file that says which addresses we added. An address is written
// down before it is added, so that whatever a crash leaves behind is known to
// be ours; what is not in the file is never removed.
type ledger struct {
	path string
	life durable.Life
	disk map[netip.Addr]string // what the file says: address and link
}

const ledgerVersion = 1

type ledgerFile struct {
	Version int `json:"version"`
	durable.Life
	Addresses []ledgerEntry `json:"addresses"`
}

type ledgerEntry struct {
	Address netip.Addr `json:"address"`
	Link    string     `json:"link"`
}

// corruptError is a ledger that cannot be understood.
type corruptError struct{ cause error }

func (e corruptError) Error() string { return e.cause.Error() }

// claim keeps the directory to this agent until release: another that read our
// ledger would take our addresses for leftovers of its own, and remove them. A
// directory that cannot be opened is no obstacle: nothing is added until the
// ledger can be written.
func (l *ledger) claim() (release func(), err error) {
	dir := filepath.Dir(l.path)
	_ = os.MkdirAll(dir, 0o700)
	d, err := os.Open(dir)
	if err != nil {
		return func() {}, nil //nolint:nilerr // see above
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("state directory %s belongs to another agent that runs; give this one another --state-dir", dir), d.Close())
	}
	return func() { _ = d.Close() }, nil
}

// read takes over what the file says. No file, or one of another life, says
// that nothing is ours.
func (l *ledger) read() error {
	raw, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		l.disk = map[netip.Addr]string{}
		return nil
	}
	if err != nil {
		return err
	}
	f, err := parseLedger(raw)
	if err != nil {
		return corruptError{err}
	}
	l.disk = map[netip.Addr]string{}
	if f.Life != l.life {
		return nil
	}
	for _, e := range f.Addresses {
		l.disk[e.Address] = e.Link
	}
	return nil
}

func parseLedger(raw []byte) (f ledgerFile, err error) {
	if err := durable.Decode(raw, &f); err != nil {
		return f, err
	}
	if f.Version != ledgerVersion {
		return f, fmt.Errorf("version is %d, not %d", f.Version, ledgerVersion)
	}
	if f.Boot == "" {
		return f, errors.New("boot_id is missing")
	}
	for i, e := range f.Addresses {
		if !e.Address.IsValid() || e.Link == "" {
			return f, fmt.Errorf("addresses[%d] lacks its address or link", i)
		}
	}
	return f, nil
}

// setAside renames a file that cannot be understood, so that it can be looked
// at, and starts an empty ledger. It returns the new name.
func (l *ledger) setAside() (string, error) {
	aside, err := durable.SetAside(l.path)
	if err != nil {
		return "", err
	}
	l.disk = map[netip.Addr]string{}
	return aside, nil
}

// write makes the file say owned, all of it or nothing, and returns once that
// survives a crash. It does nothing when the file says so already.
func (l *ledger) write(owned map[netip.Addr]string) error {
	if maps.Equal(owned, l.disk) {
		return nil
	}
	f := ledgerFile{Version: ledgerVersion, Life: l.life, Addresses: []ledgerEntry{}}
	for _, ip := range slices.SortedFunc(maps.Keys(owned), netip.Addr.Compare) {
		f.Addresses = append(f.Addresses, ledgerEntry{ip, owned[ip]})
	}
	raw, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return err
	}
	if err := durable.Replace(l.path, append(raw, '\n')); err != nil {
		return err
	}
	l.disk = maps.Clone(owned)
	return nil
}
