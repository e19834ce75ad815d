module mdmsim.test/foreign

go 1.21

require (
	github.com/micromdm/nanomdm v0.9.0
	github.com/micromdm/plist v0.2.1
	github.com/smallstep/pkcs7 v0.2.1
	github.com/smallstep/scep v0.0.0-20241223071629-a37a330173bc
)

require (
	github.com/micromdm/nanolib v0.5.0 // indirect
	golang.org/x/crypto v0.33.0 // indirect
)
