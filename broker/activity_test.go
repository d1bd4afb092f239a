package broker

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/face"
)

// TestActivityIsWrittenSoonAndTogether: a burst is in the file a moment later, without a Close, and Close waits for no
// moment.
func TestActivityIsWrittenSoonAndTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		a, err := openActivity(dir)
		if err != nil {
			t.Fatal(err)
		}
		lines := func() int {
			content, err := os.ReadFile(filepath.Join(dir, activityFile))
			if err != nil {
				t.Fatal(err)
			}
			return bytes.Count(content, []byte("\n"))
		}
		for range 3 { // each burst after the one before it was written
			before := lines()
			a.add(face.Entry{Event: "token"})
			synctest.Wait()
			a.add(face.Entry{Event: "token"})
			synctest.Wait()
			if n := lines() - before; n != 0 {
				t.Errorf("%d lines were written alone", n)
			}
			time.Sleep(activityGather)
			synctest.Wait()
			if n := lines() - before; n != 2 {
				t.Errorf("%d lines were written, not 2", n)
			}
		}
		a.add(face.Entry{Event: "token"})
		start := time.Now()
		a.close()
		if n, took := lines(), time.Since(start); n != 7 || took != 0 {
			t.Errorf("%d lines after Close, which took %s", n, took)
		}
	})
}
