# strict-tls, the doctor.  Included by ../../Makefile behind ../rules.mk, whose library it uses.

DOCTOR     := $(B)/bin/strict-tls
DOCTOR_SRC := $(sort $(wildcard curl_plugin/doctor/*.c))
DOCTOR_OBJ := $(DOCTOR_SRC:%.c=$(B)/obj/%.o)

.PHONY: doctor doctor-docs
doctor: $(DOCTOR)

$(DOCTOR): $(DOCTOR_OBJ) $(CURL_A)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Wl,-z,relro,-z,now $(DOCTOR_OBJ) $(CURL_A) $(CURL_LIBS) -o $@

# Man page and completion, from the options table.
doctor-docs: $(DOCTOR)
	$(DOCTOR) help man > curl_plugin/man/strict-tls.1
	$(DOCTOR) help completion > curl_plugin/doctor/strict-tls.bash

-include $(DOCTOR_OBJ:.o=.d)
