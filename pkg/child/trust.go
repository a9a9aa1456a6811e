package child

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Trusted returns an error if somebody else than root and this process's user may
// write a program, or put another in its place: it would run as us. It looks at the
// file, where its links lead, and all directories on the way. A program that is not
// there is no error of Trusted: to start it is.
func Trusted(program string) error {
	real, err := filepath.EvalSymlinks(program)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	for _, path := range []string{program, real} {
		for at := path; ; at = filepath.Dir(at) {
			if err := trusted(at); err != nil {
				return err
			}
			if at == "/" || at == "." {
				break
			}
		}
		if real == program {
			break
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
