package testenv

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the process in a group of its own and has the kernel kill it
// when the thread that started it dies: a crashed test leaves no broker behind.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
