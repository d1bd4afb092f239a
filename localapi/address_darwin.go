package localapi

import "os"

const pathLimit = darwinPathLimit

func systemAddress(getenv func(string) string) (string, error) {
	return darwinAddress(getenv, os.Getuid())
}
