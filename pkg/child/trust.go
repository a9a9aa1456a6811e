package child

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxHops is how many links are followed, as the kernel does.
const maxHops = 40

// Trusted returns an error if somebody else than root and this process's user may
// write a program, or put another in its place: it would run as us. It walks the path
// as the kernel does, and looks at every directory and every link on the way. A program
// that is not there is no error of Trusted: to start it is.
func Trusted(program string) error {
	at, rest := "/", strings.Split(program, "/")
	if err := trusted(at); err != nil {
		return err
	}
	for hops := 0; len(rest) > 0 && hops < maxHops; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		if err := trusted(next); err != nil {
			return err
		}
		target, err := os.Readlink(next)
		if err != nil { // it is no link, or not there
			at = next
			continue
		}
		hops++
		rest = append(strings.Split(target, "/"), rest...)
		if filepath.IsAbs(target) {
			at = "/"
		}
	}
	return nil
}

func trusted(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil //nolint:nilerr // gone meanwhile
	}
	st := info.Sys().(*syscall.Stat_t)
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() && !unmapped(st.Uid) {
		return fmt.Errorf("%s belongs to user %d, who could change it; chown it to root", path, st.Uid)
	}
	const others = 0o022
	sticky := info.IsDir() && info.Mode()&fs.ModeSticky != 0 // nobody replaces what is another's there
	if info.Mode().Type() != fs.ModeSymlink && info.Mode().Perm()&others != 0 && !sticky {
		return fmt.Errorf("%s may be written by others (%s); chmod go-w it", path, info.Mode())
	}
	return nil
}

// overflow is the owner that the kernel shows where that has no number in our user
// namespace.
const overflow = 65534

// unmapped says whether a user is none of our user namespace: nobody in it can write as
// that one.
func unmapped(uid uint32) bool {
	if uid != overflow {
		return false
	}
	m, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && !bytes.Equal(bytes.Join(bytes.Fields(m), []byte(" ")), []byte("0 0 4294967295"))
}
