//go:build e2e && linux

package headless

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/localapi"
)

// TestHeadlessBare: valetkey and vk need no library, and valetkey starts where there is nothing but its own file and /proc.
func TestHeadlessBare(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"valetkey", "vk"} {
		file, err := elf.Open(rig.Program(t, name))
		if err != nil {
			t.Fatal(err)
		}
		libraries, err := file.ImportedLibraries()
		if err != nil || len(libraries) > 0 || file.Section(".interp") != nil {
			t.Errorf("%s needs %v (%v)", name, libraries, err)
		}
		file.Close()
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to change the root")
	}
	h := rig.New(t)
	root := h.Path("root")
	if err := os.MkdirAll(filepath.Join(root, "proc"), 0o755); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(rig.Program(t, "valetkey"))
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "valetkey"), program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `mount --bind /proc "$0/proc" && exec chroot "$0" /valetkey --headless --keystore memory`, root)
	cmd.Env = []string{"HOME=/home", "VK_SOCK=/run/agent.sock", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	app := h.Run(cmd)
	client := localapi.NewClient(filepath.Join(root, "run", "agent.sock"))
	defer client.Close()
	rig.Until(t, "Valet Key answers", func() bool {
		if !app.Running() {
			t.Fatalf("it ended with %v\n%s", app.ProcessState, app.Err.String())
		}
		_, err := client.Status(t.Context())
		return err == nil
	})
}
