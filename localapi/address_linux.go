package localapi

import "os"

const pathLimit = linuxPathLimit

func systemAddress(getenv func(string) string) (string, error) {
	return linuxAddress(getenv, os.Getuid(), func(dir string) bool {
		info, err := os.Stat(dir)
		return err == nil && info.IsDir()
	})
}
