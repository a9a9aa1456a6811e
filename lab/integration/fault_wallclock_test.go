package integration

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/labtest"
)

// A process reads the clock through the vDSO, a piece of code that the kernel maps
// into it. stepWallClock writes other code there: it asks the kernel, and adds a
// step to CLOCK_REALTIME alone. So one process sees its wall clock jump, whatever
// language it is written in, without a change to its binary or to the machine.

// steppedClock is __vdso_clock_gettime(rdi: clock, rsi: *timespec) of amd64, with
// room for the step in seconds.
var steppedClock = []byte{
	0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228 (clock_gettime)
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi (CLOCK_REALTIME is 0)
	0x75, 0x07, // jne over the next
	0x48, 0x81, 0x06, 0, 0, 0, 0, // add qword [rsi], step
	0xc3, // ret
}

const stepAt = 14 // in steppedClock

// needSteppedClock skips the test where the code above is of no use.
func needSteppedClock(t *testing.T) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		labtest.Missing(t, "amd64", errors.New("the code that steps a process's clock is for amd64"))
	}
}

// stepClock lets the agent of a node see a wall clock that is by off from now on.
func (r *rig) stepClock(node string, by time.Duration) {
	r.t.Helper()
	cmd := r.role(node, clockName, strconv.Itoa(r.pid(node)), by.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("step the clock of %s: %v\n%s", node, err, out)
	}
}

// stepWallClock is the role of clockName: a process id and a step.
func stepWallClock(args []string) error {
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	step, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	begin, end, err := vdso(pid)
	if err != nil {
		return err
	}
	image := make([]byte, end-begin)
	if _, err := mem.ReadAt(image, begin); err != nil {
		return fmt.Errorf("read the vDSO: %w", err)
	}
	function, err := clockGettime(image)
	if err != nil {
		return err
	}
	code := slices.Clone(steppedClock)
	binary.LittleEndian.PutUint32(code[stepAt:], uint32(int32(step/time.Second)))
	return whileStopped(pid, begin, end, func() error {
		_, err := mem.WriteAt(code, begin+function)
		return err
	})
}

// vdso says where a process has the vDSO.
func vdso(pid int) (begin, end int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			_, err := fmt.Sscanf(line, "%x-%x ", &begin, &end)
			return begin, end, err
		}
	}
	return 0, 0, fmt.Errorf("process %d has no vDSO", pid)
}

// clockGettime is where clock_gettime begins in the vDSO.
func clockGettime(image []byte) (int64, error) {
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, fmt.Errorf("vDSO: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return 0, fmt.Errorf("vDSO: %w", err)
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" && s.Size >= uint64(len(steppedClock)) {
			return int64(s.Value), nil
		}
	}
	return 0, errors.New("the vDSO has no __vdso_clock_gettime")
}

// whileStopped does f while the process stands still, with no thread between begin
// and end.
func whileStopped(pid int, begin, end int64, f func() error) error {
	for {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return err
		}
		inside, err := anyThreadIn(pid, begin, end)
		if err == nil && !inside {
			err = f()
		}
		if err := errors.Join(err, syscall.Kill(pid, syscall.SIGCONT)); err != nil || !inside {
			return err
		}
	}
}

// anyThreadIn waits until all threads of a process stand still, and says whether one
// does so between begin and end.
func anyThreadIn(pid int, begin, end int64) (bool, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return false, err
	}
	for _, task := range tasks {
		at, err := programCounter(task)
		if err != nil {
			return false, err
		}
		if at >= begin && at < end {
			return true, nil
		}
	}
	return false, nil
}

// programCounter is where a thread stands, once it does.
func programCounter(task string) (int64, error) {
	for {
		text, err := os.ReadFile(filepath.Join(task, "syscall"))
		if err != nil {
			return 0, err
		}
		if fields := strings.Fields(string(text)); fields[0] != "running" {
			return strconv.ParseInt(strings.TrimPrefix(fields[len(fields)-1], "0x"), 16, 64)
		}
		time.Sleep(time.Millisecond)
	}
}
